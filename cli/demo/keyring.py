"""Everyone's keys in a network that is laid out in one directory."""

from __future__ import annotations

import os
from collections.abc import Sequence

from cli.connection import DEFAULT_VALIDITY_MS
from cli.network_setup import Network
from cli.validation import now_ms
from ledger.keyfile import load_key, load_sealing_key
from ledger.keys import SealingKey
from ledger.suite import SHA256_ED25519, Signer
from ledger.transactions import NONCE_BYTES, Operation, Transaction, sign_transaction


class Keyring:
    """Signs for any profile. Who has one names its network, and a place for the keys that were read."""

    __slots__ = ()

    network: Network
    _signers: dict[str, Signer]

    def signer(self, profile: str) -> Signer:
        """Return the key of a profile."""
        if profile not in self._signers:
            path = self.network.directory / "keys" / f"{profile}.key"
            self._signers[profile] = load_key(path, "")
        return self._signers[profile]

    def sealing_key(self, organisation: str) -> SealingKey:
        """Return the sealing key of an organisation (short name)."""
        return load_sealing_key(self.network.directory / "keys" / f"{organisation}.sealing", "")

    def sign(self, profile: str, operations: Sequence[Operation]) -> Transaction:
        """Return a transaction of a profile, valid for ten minutes."""
        return sign_transaction(
            SHA256_ED25519,
            self.signer(profile),
            self.network.chain_id,
            operations,
            valid_until_ms=now_ms() + DEFAULT_VALIDITY_MS,
            nonce=os.urandom(NONCE_BYTES),
        )
