"""From a holder's offer to a license: what the issuer and the wallet hand each other.

A holder's wallet makes a fresh key for every license and *offers* it: key, salt of the commitment, and a signature
that proves possession, bound to the chain and to the issuer it is meant for. The issuer answers with a *package*: the
credential with all its disclosures. What goes to the ledger is the body of `licenses.license.issue`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from ledger.codec import decode_array, encode
from ledger.decoding import byte_string, public_key, short_text, signature_field
from ledger.errors import DecodeError, InvalidSignature
from ledger.strict_json import Json, json_decode
from ledger.suite import PublicKey, Signer, Suite, signed_bytes
from licenses.credentials import Credential, randomness_bytes, read_credential, sign_credential
from licenses.handles import SALT_BYTES, holder_commitment
from licenses.models import IssueLicense
from licenses.sd_jwt import MAX_SD_JWT_BYTES

OFFER_KIND: Final = "holder-offer"
OFFER_PREFIX: Final = "mulu-offer:"
PACKAGE_FORMAT: Final = "mulu-credential/v1"

MAX_OFFER_BYTES: Final = 1024


@dataclass(frozen=True, slots=True)
class HolderOffer:
    """A key to which a holder asks to have a license bound."""

    chain_id: str
    issuer: str
    key: PublicKey
    salt: bytes
    signature: bytes

    def body(self) -> bytes:
        """Return what the holder's key signs, encoded."""
        return encode((self.chain_id, self.issuer, str(self.key), self.salt))

    def verify(self, suite: Suite, *, chain_id: str, issuer: str) -> None:
        """Verify that the offer's key made it, for this chain and this issuer.

        Raises:
            InvalidSignature: it did not.
        """
        if (self.chain_id, self.issuer) != (chain_id, issuer):
            raise InvalidSignature(f"the offer is for issuer {self.issuer} on {self.chain_id}")
        if not suite.verify(self.key, signed_bytes(OFFER_KIND, self.body()), self.signature):
            raise InvalidSignature("the offered key did not sign the offer")

    def commitment(self, suite: Suite) -> bytes:
        """Return the holder commitment for the license's record."""
        return holder_commitment(suite, self.salt, self.key)

    def __str__(self) -> str:
        return OFFER_PREFIX + encode((self.body(), self.signature)).hex()

    @staticmethod
    def parse(text: str) -> HolderOffer:
        """Read an offer as written by `str`.

        Raises:
            DecodeError: not an offer.
        """
        text = text.strip()
        if not text.startswith(OFFER_PREFIX) or len(text) > MAX_OFFER_BYTES:
            raise DecodeError(f"an offer is written {OFFER_PREFIX}<hex>")
        try:
            data = bytes.fromhex(text.removeprefix(OFFER_PREFIX))
        except ValueError:
            raise DecodeError("the offer is not hexadecimal") from None
        body, signature = decode_array(data, 2)
        if type(body) is not bytes:
            raise DecodeError("an offer is [body, signature]")
        chain_id, issuer, key, salt = decode_array(body, 4)
        return HolderOffer(
            short_text(chain_id, "chain_id"),
            short_text(issuer, "issuer"),
            public_key(key, "key"),
            byte_string(salt, "salt", SALT_BYTES),
            signature_field(signature),
        )


def make_offer(signer: Signer, chain_id: str, issuer: str, salt: bytes) -> HolderOffer:
    """Offer `signer`'s key to an issuer; `salt` is 32 random bytes."""
    unsigned = HolderOffer(chain_id, issuer, signer.public_key, salt, b"")
    signature = signer.sign(signed_bytes(OFFER_KIND, unsigned.body()))
    return HolderOffer(chain_id, issuer, signer.public_key, salt, signature)


@dataclass(frozen=True, slots=True)
class IssuedLicense:
    """A license as its issuer made it: the body for the ledger, and the credential for the holder."""

    body: IssueLicense
    credential: Credential

    def package(self) -> str:
        """Return the file for the holder's wallet, which holds personal data."""
        content = {"format": PACKAGE_FORMAT, "sd_jwt": str(self.credential.sd_jwt)}
        return json.dumps(content, indent=2) + "\n"


def read_package(suite: Suite, text: str) -> Credential:
    """Read a package, or a bare SD-JWT; the issuer's signature is verified.

    Raises:
        DecodeError: neither.
        InvalidSignature: the issuer's signature does not verify.
    """
    if len(text) > 2 * MAX_SD_JWT_BYTES:
        raise DecodeError("too long for a credential")
    if text.lstrip().startswith("{"):
        content = json_decode(text.encode("utf-8", "surrogatepass"))
        if not isinstance(content, dict) or content.get("format") != PACKAGE_FORMAT:
            raise DecodeError(f"expected format {PACKAGE_FORMAT}")
        bare = content.get("sd_jwt")
        if not isinstance(bare, str):
            raise DecodeError("sd_jwt: expected a text")
        text = bare
    credential = read_credential(suite, text)
    credential.verify_issuer(suite)
    return credential


def prepare_license(
    suite: Suite,
    signer: Signer,
    *,
    chain_id: str,
    issuer: str,
    license_type: str,
    identifier: str,
    fields: Mapping[str, Json],
    offer: HolderOffer | None,
    valid_from_ms: int,
    valid_to_ms: int | None,
    now_ms: int,
    randomness: bytes,
    document: bytes | None = None,
) -> IssuedLicense:
    """Make a license: sign the credential and return it with the operation's body.

    `randomness` has `license_randomness(len(fields))` fresh bytes; `document` is the digest of a file that belongs to
    the license (`handles.document_digest`). Validity bounds are cut to whole seconds.

    Raises:
        InvalidSignature: the offer is not this issuer's, or not made by its key.
        ValueError: too little or too much randomness.
        DecodeError: a part is not well formed.
    """
    if offer is not None:
        offer.verify(suite, chain_id=chain_id, issuer=issuer)
    valid_from_ms -= valid_from_ms % 1000
    if valid_to_ms is not None:
        valid_to_ms -= valid_to_ms % 1000
    credential = sign_credential(
        suite,
        signer,
        chain_id=chain_id,
        issuer=issuer,
        license_type=license_type,
        identifier=identifier,
        handle_salt=randomness[:SALT_BYTES],
        fields=fields,
        holder=None if offer is None else offer.key,
        issued_ms=now_ms,
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
        randomness=randomness[SALT_BYTES:],
    )
    body = IssueLicense(
        license=credential.handle,
        type=license_type,
        credential=credential.digest(suite),
        credential_key=str(signer.public_key),
        holder=None if offer is None else offer.commitment(suite),
        document=document,
        valid_from_ms=valid_from_ms,
        valid_to_ms=valid_to_ms,
    )
    return IssuedLicense(body, credential)


def license_randomness(fields: int) -> int:
    """Return how many random bytes `prepare_license` needs for that many fields."""
    return SALT_BYTES + randomness_bytes(fields)
