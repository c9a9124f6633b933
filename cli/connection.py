"""From options to a connected client: which node, whose key, which trust anchor.

Precedence: option, environment (MULU_NODE, MULU_KEY, MULU_POLICY), profile (`--profile`, MULU_PROFILE, default).
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx
import typer

from cli.options import DEFAULT_HOME
from cli.output import CommandError, ExitCode
from cli.profiles import Profiles, load_profiles
from ledger.admission import ROLE_MISSING
from ledger.keyfile import is_protected, load_key
from ledger.keys import SoftwareSigner
from ledger.operations import Body, body_value
from ledger.suite import SHA256_ED25519, Signer, Suite
from ledger.transactions import NONCE_BYTES, Operation, Transaction, sign_transaction
from node.answers import DEFAULT_TIMEOUT_S, Answer, SubmissionResult, Wait
from node.client import NodeClient
from node.errors import ApiProblem

DEFAULT_VALIDITY_MS: Final = 10 * 60_000
"""How long a transaction of ours may wait for a block; well below the lifetime that the network allows."""


@dataclass(frozen=True, slots=True)
class Connection:
    """A node to talk to, and the key to sign with (None: only public resources answer)."""

    client: NodeClient
    signer: Signer | None
    suite: Suite
    policy: Path | None
    organisation: str
    """USCC of the profile's organisation; "" where no profile names one."""
    sealing_key: Path | None
    profile: str
    """Name of the profile whose key signs; "" where the key was given otherwise, or none was."""

    def require_signer(self) -> Signer:
        """Return the key.

        Raises:
            CommandError: none was given.
        """
        if self.signer is None:
            raise CommandError(
                "this command signs, and no key was given",
                hint="Give --key FILE or --profile NAME, or set MULU_KEY.",
            )
        return self.signer

    def client_of(self, url: str) -> NodeClient:
        """Return a client of a node, with the same key."""
        return _SayingClient(url, self.signer, self.profile)

    def sign(
        self, operations: Sequence[Operation], *, validity_ms: int = DEFAULT_VALIDITY_MS
    ) -> Transaction:
        """Return a signed transaction of these operations for the connected network."""
        return sign_transaction(
            self.suite,
            self.require_signer(),
            self.client.network().chain_id,
            operations,
            valid_until_ms=time.time_ns() // 1_000_000 + validity_ms,
            nonce=os.urandom(NONCE_BYTES),
        )

    def submit(
        self, operations: Sequence[Operation], *, wait: Wait = "committed", timeout_s: float = 15.0
    ) -> SubmissionResult:
        """Sign, submit and wait for one transaction; return its result where it took effect.

        Raises:
            CommandError: refused, failed on the ledger, or not committed in time.
        """
        result = self.attempt(operations, wait=wait, timeout_s=timeout_s)
        require_success(result, self.profile)
        return result

    def attempt(
        self, operations: Sequence[Operation], *, wait: Wait = "committed", timeout_s: float = 15.0
    ) -> SubmissionResult:
        """Sign, submit and wait for one transaction; return what became of it."""
        transaction = self.sign(operations)
        (result,) = self.client.submit([transaction.raw], wait=wait, timeout_s=timeout_s)
        return result


def operation(kind: str, body: Body) -> Operation:
    """Return an operation of `kind` with the map of `body`."""
    return Operation(kind, body_value(body))


class _SayingClient(NodeClient):
    """A client that says, where the node refuses, whose key has asked."""

    def __init__(
        self, url: str, signer: Signer | None, profile: str, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        super().__init__(url, signer=signer, timeout_s=timeout_s)
        self._asked_with = None if signer is None else _key_text(profile)

    def request(self, *words: Any, **options: Any) -> Answer:
        try:
            return super().request(*words, **options)
        except ApiProblem as problem:
            problem.asked_with = self._asked_with
            raise


def _key_text(profile: str) -> str:
    return f"the key of profile {profile}" if profile else "the key that was given"


def require_success(result: SubmissionResult, profile: str = "") -> None:
    """Raise what a submission's result amounts to, unless it took effect or is on its way.

    `profile` is whose key signed, for the hint.

    Raises:
        CommandError: with the ledger's code.
    """
    if result.status in ("committed", "pending"):
        return
    detail = f": {result.text}" if result.text else ""
    whose = ""
    if result.code == ROLE_MISSING:
        whose = (
            f" It was signed with {_key_text(profile)}; `mulu profile list` shows whose you have."
        )
    if result.status == "refused":
        raise CommandError(
            f"the node refused the transaction ({result.code}){detail}",
            code=result.code,
            exit_code=ExitCode.REFUSED,
            hint=f"Nothing of it was recorded.{whose}",
        )
    if result.status == "failed":
        raise CommandError(
            f"the validators refused the transaction ({result.code}){detail}",
            code=result.code,
            exit_code=ExitCode.REFUSED,
            hint=f"The refusal is on the ledger: mulu tx show {result.id}.{whose}",
        )
    raise CommandError(
        f"not known yet: transaction {result.id} was not decided in time{detail}",
        code="not_committed",
        exit_code=ExitCode.NOT_ESTABLISHED,
        hint="It may still be committed; before you try again, ask: "
        f"mulu tx wait {result.id}. See also `mulu network status`.",
    )


def passphrase() -> str:
    """Return the passphrase of key files from MULU_PASSPHRASE; empty where it is not set."""
    return os.environ.get("MULU_PASSPHRASE", "")


def open_key(path: Path) -> SoftwareSigner:
    """Load a signing key, asking for its passphrase where it has one and MULU_PASSPHRASE is not set.

    Raises:
        CommandError: missing, damaged, or the passphrase is wrong.
    """
    return load_key(path, passphrase_of(path))


def new_passphrase(without: str) -> str:
    """Return the passphrase for new keys: MULU_PASSPHRASE, or what the terminal answers twice.

    `without` is the option that makes keys without one, for the hint.
    """
    text = os.environ.get("MULU_PASSPHRASE")
    if text is None:
        if not os.isatty(0):
            raise CommandError(
                "no passphrase was given",
                hint=f"Set MULU_PASSPHRASE, run in a terminal, or give {without} for a test.",
            )
        text = str(typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True))
    if len(text) < 8:
        raise CommandError(
            "the passphrase is shorter than 8 characters", hint="Choose a longer one."
        )
    return text


def passphrase_of(path: Path) -> str:
    """Return the passphrase that a key file needs: "", MULU_PASSPHRASE, or what the terminal answers.

    Raises:
        CommandError: there is no such file, or nobody to ask.
    """
    if not path.exists():
        raise CommandError(f"there is no key file {path}", hint="Create one: mulu keys new FILE")
    if not is_protected(path):
        return ""
    if "MULU_PASSPHRASE" in os.environ:
        return os.environ["MULU_PASSPHRASE"]
    if not os.isatty(0):
        raise CommandError(f"{path} needs a passphrase", hint="Set MULU_PASSPHRASE.")
    answer: str = typer.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return answer


def mulu_home() -> Path:
    """Return the Mulu home: MULU_HOME, or ~/.mulu."""
    return Path(os.environ.get("MULU_HOME", str(DEFAULT_HOME))).expanduser()


def connect(
    node: str | None,
    key: Path | None,
    profile: str | None,
    *,
    policy: Path | None = None,
    timeout_s: float = 30.0,
) -> Connection:
    """Return a connection from options and profile.

    Raises:
        CommandError: no node is named, or the key cannot be opened.
    """
    profiles = load_profiles(mulu_home())
    selected = profiles.select(profile)
    url = node or selected.node
    if not url:
        raise CommandError(
            "no node is named",
            hint="Give --node URL or --profile NAME, set MULU_NODE, or make a network: `mulu network init`.",
        )
    check_node_address(url)
    path = key if key is not None else _profile_path(profiles, selected.key)
    signer = None if path is None else open_key(path)
    signing = "" if key is not None or not selected.key else profile or profiles.default
    anchor = policy if policy is not None else _profile_path(profiles, selected.policy)
    return Connection(
        _SayingClient(url, signer, signing, timeout_s),
        signer,
        SHA256_ED25519,
        anchor,
        selected.organisation,
        _profile_path(profiles, selected.sealing_key),
        signing,
    )


def anchor_of(policy: Path | None, profile: str | None) -> Path | None:
    """Return the policy file to trust where no node is asked: the one given, else the profile's, else None."""
    if policy is not None:
        return policy
    profiles = load_profiles(mulu_home())
    return _profile_path(profiles, profiles.select(profile).policy)


def check_node_address(text: str) -> str:
    """Return an address of a node.

    Raises:
        CommandError: not one.
    """
    try:
        is_address = text.startswith(("http://", "https://")) and bool(
            httpx.URL(text).host.encode("idna")
        )
    except (httpx.InvalidURL, UnicodeError):  # no host has such a name
        is_address = False
    if not is_address:
        raise CommandError(
            f"{text!r} is not an address of a node", hint="Expected http://HOST:PORT."
        )
    return text


def _profile_path(profiles: Profiles, text: str) -> Path | None:
    return profiles.path(text) if text else None
