"""Start a node: read its home, open its store, run it until a signal ends it."""

from __future__ import annotations

import asyncio
import os
import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog
import uvloop

from ledger.application import Application
from ledger.errors import DamagedStoreError, LedgerError
from ledger.files import replace_file
from ledger.fsck import open_store
from ledger.operations import OperationTable
from ledger.store import Store, lower_compaction_priority
from node.collector import settle
from node.cometbft.program import supervised_home
from node.cometbft.supervisor import DAMAGED, NOT_USABLE, supervise, supervisor_id
from node.errors import InvalidConfiguration
from node.home import OpenedHome, check_tls, open_home
from node.logs import configure_logging
from node.node import Node
from node.observation import Damage
from node.operation_table import OPERATIONS
from node.workers import SWITCH_INTERVAL_S

DESCRIPTORS: Final = 16_384
"""Connections of clients and peers, the database's tables, and what unfinished handshakes hold for seconds."""

_log = structlog.get_logger(__name__)


def run_node(
    home: Path, passphrase: str = "", *, supervised: bool = False, set_aside: bool = False
) -> int:
    """Run the node of a home directory until SIGTERM or SIGINT; return the process' exit status.

    With CometBFT this process supervises two others: CometBFT, and the node itself, which is `supervised` then;
    `set_aside` tells it that its store cannot be read.

    0: ended by a signal. 1: a part failed; the log says why. 2: configuration, keys, certificates or genesis are not
    usable. 3: supervised, and the store is damaged.
    """
    wanted = None if supervised else supervised_home(home)
    if wanted is not None:
        return supervise(home, wanted)
    configure_logging()
    _let_others_finish()
    try:
        opened = open_home(home, passphrase)
        check_tls(opened)
    except LedgerError as error:
        _log.error("cannot start", reason=str(error))
        return NOT_USABLE
    configure_logging(opened.config.log.level, opened.config.log.format)
    structlog.contextvars.bind_contextvars(node=opened.config.name)
    process_id = supervisor_id() if supervised else os.getpid()
    lower_compaction_priority()
    try:
        return _run_once(opened, process_id, unreadable=set_aside)
    except DamagedStoreError as error:
        _log.critical("the store is damaged: the node has stopped", reason=str(error))
    if supervised:
        return DAMAGED  # the engine has ended with us: both start again
    return _run_again(opened, process_id)


def _run_again(opened: OpenedHome, process_id: int) -> int:
    """Run a node whose store turned out to be damaged once more, with what could be saved.

    Damage that comes again in one process is a failing disk, which a person must see to.
    """
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
        _log.error(
            "the store was damaged: set aside, synchronising anew",
            at=str(found.set_aside),
            height=found.damaged_height,
        )
        text = "the store was damaged: set aside, everything fetched anew from the others"
        damage = Damage(text, found.damaged_height)
    elif found.recovered:
        _log.warning(
            "the store was damaged: recovered, and verified from genesis on",
            height=found.damaged_height,
        )
        text = "the store was damaged: recovered, and verified from genesis on"
        damage = Damage(text, found.damaged_height)
    store = found.store
    # Only who has the store open may say that it runs this home.
    replace_file(opened.home.process_id, str(process_id).encode("ascii"), mode=0o644)
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _raise_descriptor_limit()
    try:
        application = open_application(opened, store)
        settle()
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            return runner.run(_until_signalled(Node(opened, store, application, damage)))
    except DamagedStoreError:
        raise
    except InvalidConfiguration as error:
        _log.error("cannot start", reason=str(error))
        return NOT_USABLE
    except LedgerError as error:
        _log.error("stopped", reason=str(error), kind=type(error).__name__)
        return 1
    finally:
        store.close()
        if process_id == os.getpid():  # a supervisor's stays until it ends: it starts us again
            opened.home.process_id.unlink(missing_ok=True)


def _let_others_finish() -> None:
    """Ask the kernel, where it lets us, not to interrupt others when this process wakes; another chosen policy stays.

    A node wakes for each frame. Where several share a core, each would push the next aside in the middle of its work,
    and all would find cold caches: a tenth of the throughput.
    """
    with suppress(OSError):  # a sandbox may forbid it, and it is a wish
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _raise_descriptor_limit() -> None:
    """Have room for the database's files beside many connections, as far as the system allows."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS if hard == resource.RLIM_INFINITY else min(DESCRIPTORS, hard)
    if soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def open_application(
    opened: OpenedHome, store: Store, operations: OperationTable = OPERATIONS
) -> Application:
    """Open the chain in a store; an empty store is given its genesis.

    Raises:
        StorageError: the store is damaged or holds another chain.
    """
    application = Application(opened.genesis, operations, store, _report)
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
