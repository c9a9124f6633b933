"""Work in processes of its own: one for each core, or one after the other so that each begins with fresh memory."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from typing import TypeVar

from node.collector import settle

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")


def at_once(work: Callable[[_Task], _Result], tasks: Sequence[_Task]) -> list[_Result]:
    """Do as many tasks at the same time, each in a new process; `work` is a function of a module.

    They look for cycles as rarely as a node does.
    """
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(len(tasks), context, initializer=settle) as pool:
        return list(pool.map(work, tasks))


def alone(work: Callable[[_Task], _Result], task: _Task) -> _Result:
    """Do one task in a new process."""
    return at_once(work, [task])[0]
