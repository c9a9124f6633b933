"""Seeds on several cores: each runs in a worker process, and results come in the order of the seeds.

A worker that dies, or takes too long, counts against the seed that it was given, and another one takes its place.
"""

from __future__ import annotations

import multiprocessing
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from tests.sim.judge import Violation
from tests.sim.plan import plan_of
from tests.sim.world import simulate

MAX_SEED_S = 300.0
"""No seed takes a twentieth of this."""

_processes = multiprocessing.get_context("fork")


@dataclass(frozen=True)
class Result:
    """What became of one seed. `violation` is None if all that must hold held."""

    seed: int
    violation: str | None = None
    injected: Counter[str] = field(default_factory=Counter)
    heights: int = 0
    cpu_s: float = 0.0


def run_seed(seed: int) -> Result:
    """Run one seed in this process. Whatever is raised is a violation."""
    began_s = time.process_time()
    try:
        world = simulate(seed, plan_of(seed))
    except Violation as violation:
        cause = violation.__cause__
        trace = "" if cause is None else "\n" + "".join(traceback.format_exception(cause))
        return Result(seed, f"{violation}{trace}", cpu_s=time.process_time() - began_s)
    except Exception:
        return Result(seed, traceback.format_exc(), cpu_s=time.process_time() - began_s)
    cpu_s = time.process_time() - began_s
    return Result(seed, None, world.injected, world.judge.height, cpu_s)


def _work(connection: Connection, run: Callable[[int], Result]) -> None:
    warnings.simplefilter("ignore", RuntimeWarning)  # a process that dies leaves coroutines behind
    while True:
        connection.send(run(connection.recv()))


class _Worker:
    """A place for a process that runs one seed after the other; a new one is started where the last has died."""

    def __init__(self, run: Callable[[int], Result]) -> None:
        self._run = run
        self._process: BaseProcess | None = None
        self.connection: Connection
        self._seed = -1
        self._began_s = 0.0

    def give(self, seed: int) -> None:
        """Have a seed run."""
        if self._process is None:
            self.connection, other = _processes.Pipe()
            self._process = _processes.Process(target=_work, args=(other, self._run), daemon=True)
            self._process.start()
            other.close()
        self._seed, self._began_s = seed, time.monotonic()
        self.connection.send(seed)

    @property
    def left_s(self) -> float:
        """How long the seed may still take."""
        return max(0.0, self._began_s + MAX_SEED_S - time.monotonic())

    def take(self) -> Result:
        """Return the result that is there, or say why there is none."""
        assert self._process is not None
        if not self.connection.poll():
            self.end()
            return Result(self._seed, f"not done in {MAX_SEED_S:.0f} s")
        try:
            result: Result = self.connection.recv()
        except EOFError:
            self._process.join()
            reason = f"its process died, exit code {self._process.exitcode}"
            self.end()
            return Result(self._seed, reason)
        return result

    def end(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.join()
            self.connection.close()


def run_seeds(
    seeds: Sequence[int], jobs: int, run: Callable[[int], Result] = run_seed
) -> Iterator[Result]:
    """Run the seeds, so many at a time; yield their results in order."""
    waiting = list(reversed(seeds))
    done: dict[int, Result] = {}
    workers = [_Worker(run) for _ in range(min(jobs, len(seeds)))]
    busy = list(workers)
    try:
        for worker in workers:
            worker.give(waiting.pop())
        for seed in seeds:
            while seed not in done:
                for worker in _ready(busy):
                    result = worker.take()
                    done[result.seed] = result
                    if waiting:
                        worker.give(waiting.pop())
                    else:
                        busy.remove(worker)
            yield done.pop(seed)
    finally:
        for worker in workers:
            worker.end()


def _ready(busy: list[_Worker]) -> list[_Worker]:
    """Wait for workers that have a result, have died, or have taken too long."""
    ready = wait([one.connection for one in busy], min(one.left_s for one in busy))
    return [one for one in busy if one.connection in ready or one.left_s == 0]
