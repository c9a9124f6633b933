"""The story of the licenses on the real application: signed transactions in blocks, over a real store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from ledger.application import Application
from ledger.codec import Value
from ledger.errors import InvalidOperation
from ledger.genesis import Genesis
from ledger.keys import SoftwareSigner
from ledger.membership import EnrolledKey, Organisation
from ledger.operations import Body, body_value
from ledger.store import Store
from ledger.transactions import Operation, Transaction
from licenses.models import RecordUse
from licenses.use import RequestEnvelope, SignedConsent
from tests.ledger.chain import START_MS, Chain, members
from tests.licenses.story import CENTRE, TABLE, Story, key_of, keys, organisations


def story_genesis(
    more_organisations: Sequence[Organisation] = (),
    more_keys: Mapping[str, EnrolledKey] = MappingProxyType({}),
) -> Genesis:
    """Return a genesis with the organisations and keys of the story, and more of them."""
    return Genesis.of(
        name="test",
        time_ms=START_MS,
        validators=[member.validator for member in members()],
        organisations=[*organisations(), *more_organisations],
        keys={**keys(), **more_keys},
    )


class LedgerStory(Story):
    """The same world, on the application with its store instead of the sample chain."""

    def __init__(self, directory: Path, genesis: Genesis | None = None) -> None:
        genesis = genesis or story_genesis()
        store = Store.open(directory)
        self.reported: list[BaseException] = []
        application = Application(
            genesis, TABLE, store, lambda transaction_id, kind, error: self.reported.append(error)
        )
        application.init_chain()
        self.ledger = Chain(application, store, directory, members(), self.reported)
        self.chain_id = genesis.chain_id
        self.numbers = 0
        self.uses = []

    @property
    def time_ms(self) -> int:
        return self.ledger.time_ms

    def get(self, key: str) -> Value | None:
        return self.ledger.application.state.get(key)

    def transaction(self, by: SoftwareSigner, *operations: tuple[str, Body]) -> Transaction:
        return self.ledger.transaction(
            *(Operation(kind, body_value(body)) for kind, body in operations), by=by
        )

    def apply(self, by: SoftwareSigner, *operations: tuple[str, Body]) -> bytes:
        transaction = self.transaction(by, *operations)
        (code,) = self.codes(transaction)
        if code:
            raise InvalidOperation(code)
        return transaction.id

    def codes(self, *transactions: Transaction) -> tuple[str, ...]:
        """Commit a block of these transactions and return their codes."""
        finalized = self.ledger.commit(*transactions)
        assert not self.reported, "no handler may fail in another way than by its codes"
        return tuple(result.code for result in finalized.results)

    def use(self, envelope: RequestEnvelope, consent: SignedConsent) -> Transaction:
        body = RecordUse(request=envelope.signed.encode(), consent=consent.encode())
        return self.transaction(key_of(CENTRE, "recorder"), ("licenses.use.record", body))
