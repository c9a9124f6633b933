"""A plugin of pytest inside a trial: notes which test failed of what, and whose code was imported.

It writes one JSON object to the file that the environment names. `foreign` lists modules of ours that were imported
from anywhere but the tree under trial: then the run says nothing about that tree.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any, Final

import pytest
from hypothesis import Phase, settings

RECORD_VARIABLE: Final = "MULU_TRIAL_RECORD"

PACKAGES: Final = frozenset(
    {"cli", "consensus", "directory", "ledger", "licenses", "node", "tests"}
)

_failure: dict[str, str] = {}


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Let properties fail with the first example found: nobody reads how small it could be made."""
    settings.register_profile(
        "trial", settings.default, phases=(Phase.explicit, Phase.generate), database=None
    )
    settings.load_profile("trial")


def pytest_exception_interact(
    node: pytest.Item | pytest.Collector, call: pytest.CallInfo[Any], report: Any
) -> None:
    """Note the first failure: where, in which phase (collect, setup, call, teardown), of which type."""
    if not _failure and call.excinfo is not None:
        _failure.update(test=node.nodeid, phase=call.when, error=call.excinfo.typename)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the record."""
    record = {"failure": _failure or None, "foreign": foreign_modules(session.config.rootpath)}
    Path(os.environ[RECORD_VARIABLE]).write_text(json.dumps(record))


def foreign_modules(root: Path) -> list[str]:
    """Return the modules of our packages that do not lie under `root`."""
    return sorted(
        name
        for name, module in sys.modules.items()
        if name.partition(".")[0] in PACKAGES
        and (path := getattr(module, "__file__", None)) is not None
        and not Path(path).resolve().is_relative_to(root.resolve())
    )
