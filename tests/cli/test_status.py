"""What status shows of a network that has just begun."""

from __future__ import annotations

import re
from dataclasses import asdict

import pytest

from cli import network as network_commands
from cli import node as node_commands
from node.answers import EngineView, NetworkStatus

ENGINE = EngineView("tendermint", 1, 0, "unstarted", 0, None)
BEGUN = NetworkStatus("c", "hebei", (), 1, 4, False, 0, 0, 0, "00", None, None, ENGINE, (), {})


def test_a_checkpoint_that_is_not_there_yet_has_no_time(capsys: pytest.CaptureFixture[str]) -> None:
    network_commands._show_status(BEGUN)
    record = {"reason": None, "engine": asdict(ENGINE), "checkpoint_time_ms": 0}
    node_commands._show(record | {"online": 1, "total": 4, "quorum": False}, ())
    shown = capsys.readouterr().out
    assert re.search("checkpoint +│ –", shown)
    assert re.search("checkpoint_time +│ –", shown)
    assert "1970" not in shown
