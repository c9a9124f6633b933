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
        seed = connection.recv()
        if seed is None:
            return
        connection.send(run(seed))


class _Worker:
    """A process with the seed that it is running."""

    def __init__(self, run: Callable[[int], Result]) -> None:
        self.connection, other = _processes.Pipe()
        self._process = _processes.Process(target=_work, args=(other, run), daemon=True)
        self._process.start()
        other.close()
        self.seed = -1
        self._began_s = 0.0

    def give(self, seed: int) -> None:
        self.seed, self._began_s = seed, time.monotonic()
        self.connection.send(seed)

    @property
    def left_s(self) -> float:
        return max(0.0, self._began_s + MAX_SEED_S - time.monotonic())

    def result(self) -> Result:
        """Take the result, or say that there will be none."""
        try:
            result: Result = self.connection.recv()
        except EOFError:
            self._process.join()
            return Result(self.seed, f"its process died, exit code {self._process.exitcode}")
        return result

    def end(self) -> None:
        self._process.kill()
        self._process.join()
        self.connection.close()


def run_seeds(
    seeds: Sequence[int], jobs: int, run: Callable[[int], Result] = run_seed
) -> Iterator[Result]:
    """Run the seeds, so many at a time; yield their results in order."""
    waiting = list(reversed(seeds))
    done: dict[int, Result] = {}
    workers: list[_Worker] = []
    try:
        for _ in range(min(jobs, len(seeds))):
            workers.append(_Worker(run))
            workers[-1].give(waiting.pop())
        for seed in seeds:
            while seed not in done:
                for worker, result in _finished(workers):
                    done[result.seed] = result
                    workers.remove(worker)
                    lives = result.cpu_s > 0
                    if not lives:
                        worker.end()
                    if waiting:
                        next_worker = worker if lives else _Worker(run)
                        next_worker.give(waiting.pop())
                        workers.append(next_worker)
                    elif lives:
                        worker.end()
            yield done.pop(seed)
    finally:
        for worker in workers:
            worker.end()


def _finished(workers: list[_Worker]) -> list[tuple[_Worker, Result]]:
    """Wait for at least one worker."""
    ready = wait([one.connection for one in workers], min(one.left_s for one in workers))
    finished = [(one, one.result()) for one in workers if one.connection in ready]
    late = [one for one in workers if one.left_s == 0 and one.connection not in ready]
    return finished + [(one, Result(one.seed, f"not done in {MAX_SEED_S:.0f} s")) for one in late]
