"""What a node writes to its log: one line an event, whatever the names and reasons in it are."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import structlog

from node.main import configure_logging

HOSTILE = "a\x1b[2J\x07\x9b31m\r\nforged line \u202e\u2028b"


@pytest.fixture
def settings() -> Iterator[None]:
    """Put back what a test configures."""
    yield
    structlog.reset_defaults()


@pytest.mark.usefixtures("settings")
@pytest.mark.parametrize("level", ["info", "error"])
def test_a_terminal_obeys_nothing_of_what_others_wrote_into_a_log_line(
    capsys: pytest.CaptureFixture[str], level: str
) -> None:
    configure_logging()
    getattr(structlog.get_logger(), level)(HOSTILE, peer=HOSTILE)
    [line] = capsys.readouterr().out.splitlines()
    assert line.isprintable()
    shown = "a\\x1b[2J\\x07\\x9b31m\\r\\nforged line \\u202e\\u2028b"
    assert (json.loads(line)["event"], json.loads(line)["peer"]) == (shown, shown)


@pytest.mark.usefixtures("settings")
def test_a_line_for_people_holds_no_codes_but_its_own_colours(
    capsys: pytest.CaptureFixture[str],
) -> None:
    configure_logging(line_format="console")
    structlog.get_logger().info("peer refused", peer=HOSTILE)
    [line] = capsys.readouterr().out.splitlines()
    assert "\x1b[2J" not in line
    assert "forged line" in line
