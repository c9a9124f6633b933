"""Start a node: read its home, open its store, run it until a signal ends it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

import structlog
import uvloop

from ledger.application import Application
from ledger.errors import DamagedStoreError, LedgerError
from ledger.fsck import open_store
from ledger.store import Store
from node.cometbft.home import find_engine
from node.cometbft.supervisor import Supervisor, commands_for, supervisor_id
from node.config import LogConfig
from node.home import OpenedHome, open_home, replace_file
from node.node import Node
from node.operation_table import OPERATIONS
from node.workers import SWITCH_INTERVAL_S

DESCRIPTORS: Final = 16_384
"""Connections of clients and peers, the database's tables, and what unfinished handshakes hold for seconds."""

COLLECTOR_THRESHOLDS: Final = (50_000, 20, 50)
"""Allocations before a collection of the youngest objects, and collections before the next older ones."""

_log = structlog.get_logger(__name__)


def run_node(home: Path, passphrase: str = "", *, supervised: bool = False) -> int:
    """Run the node of a home directory until SIGTERM or SIGINT; return the process' exit status.

    With CometBFT this process supervises two others: CometBFT, and the node itself, which is `supervised` then.

    0: ended by a signal. 1: a part failed; the log says why. 2: configuration, keys or genesis are not usable.
    """
    configure_logging(LogConfig())
    try:
        opened = open_home(home, passphrase)
    except LedgerError as error:
        _log.error("cannot start", reason=str(error))
        return 2
    configure_logging(opened.config.log)
    structlog.contextvars.bind_contextvars(node=opened.config.name)
    if opened.config.consensus.engine == "cometbft" and not supervised:
        return _supervise(opened)
    return _run(opened, supervisor_id() if supervised else os.getpid())


def _supervise(opened: OpenedHome) -> int:
    try:
        commands = commands_for(opened.home.root, find_engine(), opened.home.cometbft)
        return Supervisor(commands).run()
    except LedgerError as error:
        _log.error("cannot start", reason=str(error))
        return 2


def _run(opened: OpenedHome, process_id: int) -> int:
    """Run the node; where its store turns out to be damaged, once more with what could be saved.

    Damage that comes again in one process is a failing disk, which a person must see to.
    """
    try:
        return _run_once(opened, process_id, unreadable=False)
    except DamagedStoreError as error:
        _log.critical("the store is damaged: the node has stopped", reason=str(error))
    try:
        return _run_once(opened, process_id, unreadable=True)
    except DamagedStoreError as error:
        _log.critical("the store is damaged again: examine the disk", reason=str(error))
        return 1


def _run_once(opened: OpenedHome, process_id: int, *, unreadable: bool) -> int:
    try:
        found = open_store(opened.home.ledger, opened.genesis, OPERATIONS, unreadable=unreadable)
    except LedgerError as error:
        _log.error("cannot open the store", reason=str(error))
        return 1
    damage = None
    if found.set_aside is not None:
        _log.error("the store was damaged: set aside, synchronising anew", at=str(found.set_aside))
        damage = "the store was damaged: set aside, everything fetched anew from the others"
    elif found.recovered:
        _log.warning("the store was damaged: recovered, and verified from genesis on")
        damage = "the store was damaged: recovered, and verified from genesis on"
    store = found.store
    # Only who has the store open may say that it runs this home.
    replace_file(opened.home.process_id, str(process_id).encode("ascii"), mode=0o644)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _raise_descriptor_limit()
    try:
        application = open_application(opened, store)
        _calm_collector()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_signalled(Node(opened, store, application, damage)))
    except DamagedStoreError:
        raise
    except LedgerError as error:
        _log.error("stopped", reason=str(error), kind=type(error).__name__)
        return 1
    finally:
        store.close()
        opened.home.process_id.unlink(missing_ok=True)


def _calm_collector() -> None:
    """Look for cycles rarely: nearly all that lives long here is acyclic, and walking it costs a tenth of the time."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECTOR_THRESHOLDS)


def _raise_descriptor_limit() -> None:
    """Have room for the database's files beside many connections, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_application(opened: OpenedHome, store: Store) -> Application:
    """Open the chain in a store; an empty store is given its genesis.

    Raises:
        StorageError: the store is damaged or holds another chain.
    """
    application = Application(opened.genesis, OPERATIONS, store, _report)
    if application.info() is None:
        application.init_chain()
        _log.info("chain initialised", chain_id=opened.genesis.chain_id)
    return application


def _report(transaction_id: bytes, kind: str, error: BaseException) -> None:
    _log.error(
        "a handler failed unexpectedly",
        transaction=transaction_id.hex(),
        operation=kind,
        exc_info=error,
    )


async def _until_signalled(node: Node) -> int:
    """Run a node until SIGTERM or SIGINT cancels it."""
    task = asyncio.current_task()
    assert task is not None
    loop = asyncio.get_running_loop()
    signalled: list[signal.Signals] = []

    def stop(received: signal.Signals) -> None:
        signalled.append(received)
        task.cancel()

    for wanted in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(wanted, stop, wanted)
    try:
        await node.run()
    except asyncio.CancelledError:
        if not signalled:
            raise
        _log.info("ended by a signal", signal=signalled[0].name)
        return 0
    except BaseExceptionGroup as group:
        leaves = _leaves(group)
        for error in leaves:
            if isinstance(error, DamagedStoreError):
                raise error from None
        for error in leaves:
            _log.critical(
                "a part failed",
                reason=str(error),
                kind=type(error).__name__,
                exc_info=None if isinstance(error, (LedgerError, OSError)) else error,
            )
        return 1
    return 1


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    found: list[BaseException] = []
    for one in group.exceptions:
        found += _leaves(one) if isinstance(one, BaseExceptionGroup) else [one]
    return found


def _escape(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Write what is not printable as escapes: names and reasons come from others, and terminals obey them."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            kept = "\n" if key == "exception" else ""
            event[key] = "".join(
                one if one.isprintable() or one in kept else ascii(one)[1:-1] for one in value
            )
    return event


def configure_logging(config: LogConfig) -> None:
    """Write one line an event to standard output: JSON for machines, or text for people."""
    level = getattr(logging, config.level.upper())
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if config.format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING)
