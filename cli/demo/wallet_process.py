"""The holder's wallet as a process with a home of its own, and what it tells us: one line of JSON an event."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any, Final

from cli.processes import python_environment, terminate

_ANSWER_S: Final = 15.0


class WalletProcess:
    """A wallet that keeps a one-time code open and consents to every request: the holder is at the window."""

    def __init__(self, home: Path, node: str, policy: Path) -> None:
        """Set up the wallet; `start` runs it."""
        self.home = home
        self._environment = {**python_environment(), "MULU_WALLET": str(home)}
        self._run("init", "--node", node, "--policy", str(policy), "--unprotected")
        self._process: subprocess.Popen[str] | None = None
        self._events: list[dict[str, Any]] = []
        self._news = threading.Condition()
        self._codes_taken = 0

    def offer(self, issuer: str) -> str:
        """Return the wallet's offer of a fresh key to an issuer."""
        return str(self._run("offer", issuer)["offer"])

    def add(self, package: Path) -> str:
        """Take in the issuer's file; return the license's handle."""
        return str(self._run("add", str(package))["handle"])

    def start(self) -> None:
        """Run `mulu wallet watch` in the background."""
        command = [*_MULU, "wallet", "watch", "--codes", "--answer", "consent"]
        self._process = subprocess.Popen(
            [*command, "--interval", "0.2", "--json"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=(self.home / "wallet.log").open("ab"),
            env=self._environment,
            text=True,
        )
        assert self._process.stdout is not None, "asked for a pipe"
        threading.Thread(target=self._read, args=(self._process.stdout,), daemon=True).start()

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            terminate(self._process)

    def code(self) -> str:
        """Return the code that the holder reads out; each is told once."""
        with self._news:
            deadline = time.monotonic() + _ANSWER_S
            while True:
                codes = [event["code"] for event in self._events if event["event"] == "code"]
                if len(codes) > self._codes_taken:
                    self._codes_taken = len(codes)
                    return str(codes[-1])
                self._wait(deadline, "a code")

    def event(self, kind: str, named: str) -> dict[str, Any]:
        """Wait until the wallet has told of an event about a request or a use, named by its hash or id.

        Raises:
            TimeoutError: it has not in time, or has ended.
        """
        with self._news:
            deadline = time.monotonic() + _ANSWER_S
            while True:
                for event in self._events:
                    if _is_of(event, kind, named):
                        return event
                self._wait(deadline, f"{kind} of {named}")

    def has_told(self, kind: str, named: str) -> bool:
        """Tell whether the wallet has told of an event so far."""
        with self._news:
            return any(_is_of(event, kind, named) for event in self._events)

    def _wait(self, deadline: float, what: str) -> None:
        assert self._process is not None, "the wallet was started"
        ended = self._process.poll() is not None
        if ended or not self._news.wait(max(0.0, deadline - time.monotonic())):
            log = (self.home / "wallet.log").read_text("utf-8", "replace")[-2_000:]
            reason = "has ended" if ended else "did not tell in time"
            raise TimeoutError(f"the wallet {reason}: {what}\n{log}")

    def _read(self, lines: IO[str]) -> None:
        for line in lines:
            with self._news:
                self._events.append(json.loads(line))
                self._news.notify_all()
        with self._news:
            self._news.notify_all()

    def _run(self, *words: str) -> dict[str, Any]:
        """Run a command of the wallet and return its JSON."""
        done = subprocess.run(
            [*_MULU, "wallet", *words, "--json"],
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        if done.returncode != 0:
            raise RuntimeError(f"mulu wallet {words[0]}: {done.stderr.strip()}")
        answer: dict[str, Any] = json.loads(done.stdout)
        return answer


_MULU: Final = (sys.executable, "-m", "cli")


def _is_of(event: Mapping[str, Any], kind: str, named: str) -> bool:
    return event["event"] == kind and named in (event.get("use"), event.get("request"))
