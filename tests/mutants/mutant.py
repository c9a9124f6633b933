"""A mutant: one bug, planted on purpose, and the tests that must find it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_NAME: Final = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*", re.ASCII)


@dataclass(frozen=True, slots=True)
class Mutant:
    """A bug as an exchange of text: in the file at `path`, `old`, which stands there once, becomes `new`.

    `says` is the bug in one sentence. `tests` are the narrowest ones that must fail under it: pytest's node ids.
    """

    name: str
    says: str
    path: str
    old: str
    new: str
    tests: tuple[str, ...]

    def __post_init__(self) -> None:
        if _NAME.fullmatch(self.name) is None:
            raise ValueError(f"a mutant's name is words joined by hyphens: {self.name!r}")
        if self.old == self.new or not self.tests:
            raise ValueError(f"{self.name} changes nothing, or no test is to find it")
        if self.path.startswith("tests/"):
            raise ValueError(f"{self.name}: bugs are planted into what is tested, not into tests")

    def planted(self, source: str) -> str:
        """Return `source`, the text of the file at `path`, with the bug.

        Raises:
            ValueError: the old text does not stand there exactly once: the code has moved on.
        """
        count = source.count(self.old)
        if count != 1:
            raise ValueError(f"{self.name}: its old text stands {count} times in {self.path}")
        return source.replace(self.old, self.new)
