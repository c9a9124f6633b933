"""What a transaction costs as the state grows: the ledger alone, over a real synced store of so many keys.

Keys are put into the state below the ledger, in large batches: what is measured is how a full store behaves, not how it
came to be full. Each size is filled and measured in processes of its own, so that memory tells of one size.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cli.bench.chain import STEPS, LocalChain, local_chain
from cli.bench.loads import DIRECTORY, system_operation
from cli.bench.machine import signature_check_us
from cli.bench.network import Progress, temporary_directory
from cli.bench.usage import directory_bytes, disk_io, own_peak_memory_bytes
from cli.bench.workers import alone
from cli.demo import content
from ledger.codec import encode
from ledger.database import Batch, Head
from ledger.history import TIP
from ledger.state import Overlay, state_key
from ledger.state_store import StateView
from ledger.suite import SHA256_ED25519

SMALLEST: Final = 10_000
PER_BLOCK: Final = 400
_KEYS_PER_BATCH: Final = 50_000
_NUMBER_BYTES: Final = 4
_COMPACTION_S: Final = 1_200
_LOOK_S: Final = 2.0
_IDLE: Final = 0.01
"""Of a core: what a process uses that waits only."""

_SAMPLE: Final = 0
"""Number of the entry that the state is filled with; no load has it."""

_WARM_UP_BLOCKS: Final = 5
"""They fill the caches with what every block needs."""


@dataclass(frozen=True, slots=True)
class Size:
    """One size to fill and measure: keys in the state, blocks to measure, and where the network lies."""

    directory: Path
    keys: int
    blocks: int


def sizes_up_to(most: int) -> tuple[int, ...]:
    """Return 10,000 and each power of ten above it up to `most`, which is the last."""
    sizes = []
    size = SMALLEST
    while size < most:
        sizes.append(size)
        size *= 10
    return (*sizes, most)


def measure_growth(most: int, blocks: int, progress: Progress) -> dict[str, Any]:
    """Return figures by number of keys."""
    figures: dict[str, Any] = {"transactions": blocks * PER_BLOCK}
    for keys in sizes_up_to(most):
        with temporary_directory() as directory:
            size = Size(directory / "network", keys, blocks)
            progress(f"putting {keys} keys into the state")
            alone(fill, size)
            progress(f"{blocks} blocks of {PER_BLOCK} transactions")
            figures[f"{keys} keys"] = alone(measure, size)
    return figures


def fill(size: Size) -> None:
    """Make a chain whose state holds so many keys, in values as directory entries have them."""
    with local_chain(size.directory) as chain:
        chain.commit("tongzhou-editor", [system_operation(_SAMPLE)])
        sample = f"{content.DEPARTMENT.uscc}-bench-{_SAMPLE}"
        value = chain.application.state.get(state_key("directory", "system", sample))
        assert value is not None, "published above"
        encoded = encode(value)
        view = StateView(chain.store, SHA256_ED25519, chain.application.tip.state_root)
        for numbers in _in_the_order_of_the_tree(size.keys):
            overlay = Overlay(view)
            for number in numbers:
                overlay.set(_filling_key(number), value)
            batch = Batch()
            root = view.stage(overlay, batch, dict.fromkeys(overlay.changes, encoded))
            view = view.successor(chain.store, root, overlay)
            _set_root(chain, root, batch)
        _wait_for_compaction()


def _filling_key(number: int) -> str:
    return f"directory/system/{content.DEPARTMENT.uscc}-fill-{number}"


def _in_the_order_of_the_tree(keys: int) -> Iterator[list[int]]:
    """Yield the numbers of so many keys, a batch at a time: in this order each page is written once, not many times."""
    digest = SHA256_ED25519.digest
    hashed = [
        digest(_filling_key(number).encode()) + number.to_bytes(_NUMBER_BYTES, "big")
        for number in range(keys)
    ]
    hashed.sort()
    for start in range(0, keys, _KEYS_PER_BATCH):
        yield [
            int.from_bytes(one[-_NUMBER_BYTES:], "big")
            for one in hashed[start : start + _KEYS_PER_BATCH]
        ]


def _wait_for_compaction() -> bool:
    """Wait until LevelDB has put in order what filling left: a store that grew over years is so.

    Return whether it has: waiting is bounded.
    """
    deadline = time.monotonic() + _COMPACTION_S
    while time.monotonic() < deadline:
        before = time.process_time()
        time.sleep(_LOOK_S)
        if time.process_time() - before < _IDLE * _LOOK_S:
            return True
    return False


def _set_root(chain: LocalChain, root: bytes, batch: Batch) -> None:
    """Write a batch, and have the tip name the state root that it leads to."""
    tip = chain.application.tip
    batch.put(TIP, replace(tip, state_root=root).encode())
    chain.store.write(batch, Head(tip.height, tip.app_hash))


def measure(size: Size) -> dict[str, Any]:
    """Take blocks of new directory entries through a filled chain and return what one of them costs."""
    with local_chain(size.directory) as chain:
        blocks = _WARM_UP_BLOCKS + size.blocks
        load = DIRECTORY.make(chain, blocks * PER_BLOCK, lambda _: None)
        # Opening moved the newest writes from the log into a table.
        settled = _wait_for_compaction()
        check_us = signature_check_us()
        before = disk_io(os.getpid())
        for number in range(blocks):
            if number == _WARM_UP_BLOCKS:
                chain.cpu_s.clear()
                before = disk_io(os.getpid())
            chain.run_block(load[number * PER_BLOCK : (number + 1) * PER_BLOCK])
        after = disk_io(os.getpid())
        check_us = (check_us + signature_check_us()) / 2
        count = size.blocks * PER_BLOCK
        steps = {step: chain.cpu_s[step] / count * 1e6 for step in STEPS}
        total_us = sum(steps.values())
    return {
        "transactions_per_s": round(1e6 / total_us, 1),
        "cpu_us_per_transaction": round(total_us, 1),
        **{f"{step}_us": round(us, 1) for step, us in steps.items()},
        "signature_check_us": round(check_us, 1),
        "share_of_signature_limit": round(check_us / total_us, 3),
        "disk_read_bytes_per_transaction": round((after[0] - before[0]) / count, 1),
        "disk_written_bytes_per_transaction": round((after[1] - before[1]) / count, 1),
        "compacted_before": settled,
        "store_mb": round(directory_bytes([size.directory]) / 1e6, 1),
        "peak_memory_mb": round(own_peak_memory_bytes() / 1e6, 1),
    }
