"""What is shown: cells, times, and nothing that steers the terminal."""

from __future__ import annotations

import json

import pytest
from rich.cells import cell_len
from rich.console import Console

from cli.output import (
    cell,
    counted,
    printable,
    say,
    show_error,
    show_json,
    show_page,
    show_table,
    time_text,
    with_times,
)
from node.answers import Page


def test_control_characters_of_a_record_are_shown_not_obeyed() -> None:
    assert printable("a\x1b[31mb\u202ec") == "a\\x1b[31mb\\x202ec"


def test_chinese_and_english_text_stays_as_it_is() -> None:
    assert printable("通州区 Tongzhou – 第五条") == "通州区 Tongzhou – 第五条"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "–"),
        ("", "–"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (["a", "b"], "a, b"),
        ({"name": "名"}, '{\n "name": "名"\n}'),
    ],
)
def test_a_cell_shows_its_value_for_people(value: object, text: str) -> None:
    assert cell(value) == text


def test_times_are_shown_in_utc() -> None:
    assert time_text(1_763_780_400_000) == "2025-11-22 03:00:00Z"
    assert time_text(None) == "–"


def test_times_in_a_record_are_found_at_any_depth_and_nothing_else_is_changed() -> None:
    time_ms, text = 1_763_780_400_000, "2025-11-22 03:00:00Z"
    assert with_times({"a": [{"submitted_ms": time_ms, "number": 3}], "valid_to_ms": None}) == {
        "a": [{"submitted": text, "number": 3}],
        "valid_to_ms": None,
    }


def test_a_page_says_how_to_go_on_and_the_last_one_does_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = Page(({"id": "one", "more": 1}, {"id": "two", "more": 2}), "eA")

    def shown(page: Page, *, as_json: bool) -> str:
        show_page(page, "Things", ("Id",), lambda item: (item["id"],), as_json=as_json)
        return capsys.readouterr().out

    assert shown(page, as_json=False).endswith("More: --cursor eA\n")
    assert "two" in shown(page, as_json=False)
    assert "More" not in shown(Page(page.items, None), as_json=False)
    assert json.loads(shown(page, as_json=True)) == {"items": list(page.items), "cursor": "eA"}


def test_markup_in_data_has_no_meaning(capsys: pytest.CaptureFixture[str]) -> None:
    say("[bold]x[/bold]")
    show_table("[red]T", ("A",), [("[link]y",)])
    out = capsys.readouterr().out
    assert "[bold]x[/bold]" in out
    assert "[link]y" in out
    assert "[red]T" in out


def test_json_keeps_chinese_readable(capsys: pytest.CaptureFixture[str]) -> None:
    show_json({"name": "目录"})
    out = capsys.readouterr().out
    assert "目录" in out
    assert json.loads(out) == {"name": "目录"}


def test_an_error_says_what_was_wrong_and_what_to_do(capsys: pytest.CaptureFixture[str]) -> None:
    show_error("the file is missing", hint="Give another one.")
    err = capsys.readouterr().err
    assert "error: the file is missing" in err
    assert "Give another one." in err


def test_identifiers_stay_whole_in_a_narrow_terminal_and_the_table_fits_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "cli.output.console", lambda: Console(width=80, highlight=False, soft_wrap=False)
    )
    code, digest = "11110112MB1D52349B0000207110290", "5e" * 32
    name = "通州区政务服务和数据管理局 Tongzhou District Administration"
    show_table("Uses", ("Matter", "Use", "Who", "Block"), [(code, digest, name, 31)] * 2)
    lines = capsys.readouterr().out.splitlines()
    assert sum(code in line for line in lines) == 2
    assert {cell_len(line) for line in lines[1:]} == {80}
    assert digest not in "".join(lines)


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("use",), "0 uses"),
        (1, ("use",), "1 use"),
        (2, ("use",), "2 uses"),
        (1, ("entry", "entries"), "1 entry"),
        (2, ("entry", "entries"), "2 entries"),
    ],
)
def test_what_is_counted_is_named_by_its_number(
    number: int, words: tuple[str, ...], text: str
) -> None:
    assert counted(number, *words) == text
