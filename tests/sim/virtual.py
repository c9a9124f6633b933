"""Virtual time: an event loop that never waits, and the clocks that code under it reads.

When nothing is ready, the loop moves its time to the next timer instead of sleeping. "Threads" run their function at
once. So code that is written for asyncio runs unchanged, always in the same order, and as fast as it computes.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
import time
import types
from collections import deque
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextvars import Context, ContextVar
from heapq import heappop, heappush
from typing import Any

import structlog

START_MS = 1_760_000_000_000


class Machine:
    """What code runs on: a wall clock that is off by so much, and a processor that may stand still."""

    def __init__(self) -> None:
        self.clock_error_ms = 0
        self.paused = False


machine: ContextVar[Machine | None] = ContextVar("machine", default=None)
"""The machine that the present code runs on; None outside all machines."""


class Deadlock(Exception):
    """Nothing is ready and no timer is set: nothing would ever happen again."""


class _Call:
    """A handle of the loop without all that asyncio's has."""

    __slots__ = ("_arguments", "_callback")

    def __init__(self, callback: Callable[..., object], arguments: tuple[Any, ...]) -> None:
        self._callback = callback
        self._arguments = arguments

    def cancelled(self) -> bool:
        return False

    def _run(self) -> None:
        self._callback(*self._arguments)


class VirtualLoop(asyncio.BaseEventLoop):
    """An event loop with a time of its own, in seconds from 0."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 0.0
        self._ready: deque[asyncio.Handle | _Call] = deque()
        self._timers: list[tuple[float, int, asyncio.TimerHandle | _Call]] = []
        self._timers_set = 0
        self._held: dict[Machine, list[asyncio.Handle]] = {}

    def time(self) -> float:
        return self.now_s

    @property
    def now_ms(self) -> int:
        return int(self.now_s * 1000)

    def wall_clock_ms(self) -> int:
        """Return what the clock of the machine says that the present code runs on."""
        here = machine.get()
        return START_MS + self.now_ms + (0 if here is None else here.clock_error_ms)

    def call_at(  # type: ignore[override]
        self,
        when: float,
        callback: Callable[..., object],
        *arguments: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """As of any loop. Timers of the same time keep the order in which they were set."""
        timer = asyncio.TimerHandle(when, callback, arguments, self, context)
        self._timers_set += 1
        heappush(self._timers, (when, self._timers_set, timer))
        return timer

    def later(self, delay_s: float, callback: Callable[..., object], *arguments: Any) -> None:
        """As `call_later`, for what is never cancelled, raises nothing and reads no context: frames."""
        self._timers_set += 1
        call = _Call(callback, arguments)
        heappush(self._timers, (self.now_s + delay_s, self._timers_set, call))

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """A cancelled timer stays until its time, when it does nothing."""

    def _run_once(self) -> None:
        """Run what is ready; if nothing is, let time pass until the next timer."""
        ready, timers = self._ready, self._timers
        while timers and timers[0][2].cancelled():
            heappop(timers)
        if not ready:
            if not timers:
                raise Deadlock
            self.now_s = max(self.now_s, timers[0][0])
        while timers and timers[0][0] <= self.now_s:
            ready.append(heappop(timers)[2])
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled() and not (self._held and self._is_held(handle)):
                handle._run()

    def hold(self, stopped: Machine) -> None:
        """Let nothing run on a machine until it is released."""
        stopped.paused = True
        self._held[stopped] = []

    def release(self, stopped: Machine) -> None:
        """Let everything run that has become ready on the machine meanwhile, in its order."""
        stopped.paused = False
        self._ready.extend(self._held.pop(stopped))

    def _is_held(self, handle: asyncio.Handle | _Call) -> bool:
        """Keep back what belongs to a machine that is held; tell whether it does."""
        if isinstance(handle, _Call):
            return False
        here = handle._context.get(machine)  # type: ignore[attr-defined]
        if here not in self._held:
            return False
        self._held[here].append(handle)
        return True

    def run_in_executor(  # type: ignore[override]
        self, executor: Any, func: Callable[..., Any], *arguments: Any
    ) -> asyncio.Future[Any]:
        future = self.create_future()
        try:
            future.set_result(func(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future

    def _process_events(self, event_list: Any) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class _Clocks:
    """Stands where node code has the module `time`."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def monotonic(self) -> float:
        return self._loop.now_s

    def time_ns(self) -> int:
        return self._loop.wall_clock_ms() * 1_000_000

    def time(self) -> float:
        return self.time_ns() / 1e9


def _readers_of_time() -> list[Any]:
    """Return the modules of a node that use the module `time`."""
    loaded = [module for name, module in sys.modules.items() if name.startswith("node.")]
    return [module for module in loaded if getattr(module, "time", None) is time]


@contextlib.contextmanager
def virtual_time() -> Iterator[VirtualLoop]:
    """Give a loop, and its clocks to the parts of a node that read any. What they would log is not."""
    loop = VirtualLoop()
    clocks: Any = _Clocks(loop)
    modules = _readers_of_time()
    configuration = structlog.get_config()
    structlog.configure(
        processors=[],
        wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL),
        logger_factory=structlog.ReturnLoggerFactory(),
    )
    try:
        for module in modules:
            module.time = clocks
        yield loop
    finally:
        for module in modules:
            module.time = time
        structlog.configure(**configuration)
        loop.close()


def run_now(
    loop: VirtualLoop,
    coroutine: Coroutine[Any, Any, None],
    failed: Callable[[BaseException], None],
) -> None:
    """Run a coroutine at once as far as it comes, and the rest of it as a task. `failed` gets what it raises."""
    try:
        waits_for = coroutine.send(None)
    except StopIteration:
        return
    except BaseException as error:
        failed(error)
        return

    async def rest() -> None:
        try:
            await _resumed(coroutine, waits_for)
        except BaseException as error:
            failed(error)

    _unfinished.add(task := loop.create_task(rest()))
    task.add_done_callback(_unfinished.discard)


_unfinished: set[asyncio.Task[None]] = set()


@types.coroutine
def _resumed(coroutine: Coroutine[Any, Any, None], waits_for: Any) -> Generator[Any, Any, None]:
    """Go on with a coroutine that waits, in a task, as if it had been its own from the start."""
    while True:
        value, thrown = None, None
        try:
            value = yield waits_for
        except BaseException as error:
            thrown = error
        try:
            waits_for = coroutine.send(value) if thrown is None else coroutine.throw(thrown)
        except StopIteration:
            return
