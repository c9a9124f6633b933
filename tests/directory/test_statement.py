"""Statements: which paragraphs are responsibilities, and which numbers only look like it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from directory.statement import (
    MAX_MARKERS,
    MAX_PARAGRAPHS,
    MAX_STATEMENT_BYTES,
    MAX_TITLE_CHARACTERS,
    InvalidStatement,
    decode_statement,
    parse_statement,
)

_SEEDS = Path(__file__).resolve().parents[3] / "shared" / "seeds"


def numbers(text: str) -> list[int]:
    return [paragraph.number for paragraph in parse_statement(text).responsibilities]


def texts(text: str) -> list[str]:
    return [paragraph.text for paragraph in parse_statement(text).responsibilities]


def titles(text: str) -> list[str]:
    return [paragraph.title for paragraph in parse_statement(text).responsibilities]


NUMBERINGS = {
    "digits in parentheses": ("(1) Plan.\n(2) Build.\n(3) Check.\n", [1, 2, 3]),
    "full-width digits and parentheses": ("（１）Plan.\n(２) Build.\n（3）Check.\n", [1, 2, 3]),
    "Chinese numerals in parentheses": ("（一）规划。\n（二）建设。\n（十一）检查。\n", [1, 2, 11]),
    "digits with a dot": ("1. Plan.\n2. Build.\n3. Check.\n", [1, 2, 3]),
    "digits with an enumeration comma": ("1、规划。\n2、建设。\n", [1, 2]),
    "Chinese numerals with an enumeration comma": ("一、规划。\n二、建设。\n", [1, 2]),
    "one parenthesis": ("1) Plan.\n2) Build.\n", [1, 2]),
    "circled digits": ("① Plan.\n② Build.\n", [1, 2]),
    "enclosed Chinese numerals": ("㈠规划。\n㈡建设。\n", [1, 2]),
    "articles": ("Article 5 The office plans.\nArticle 6 The office builds.\n", [5, 6]),
    "articles in words": ("Article One The office plans.\nArticle Two It builds.\n", [1, 2]),
    "articles in capitals": ("ARTICLE 1 Plan.\nARTICLE 2 Build.\n", [1, 2]),
    "articles with a colon": ("Article 1: Plan.\nArticle 2. Build.\n", [1, 2]),
    "Chinese articles": ("第五条 规划。\n第六条　建设。\n第十一条：检查。\n", [5, 6, 11]),
    "Chinese articles without a space": ("第一条市政府规划。\n第二条规划局建设。\n", [1, 2]),
    "Chinese articles in digits": ("第1条 规划。\n第２条 建设。\n", [1, 2]),
    "ordinals": ("The first office plans.\n\nSecond the bureau builds.\n", [1, 2]),
    "far ordinals": ("The fifth office plans.\n\nTenth the bureau builds.\n", [5, 10]),
    "compound ordinals": (
        "The twentieth office plans.\nThe twenty-first builds.\nTwenty second it checks.\n",
        [20, 21, 22],
    ),
    "adverbs": ("First, plan.\nSecond, build.\nThird, check.\n", [1, 2, 3]),
    "letters": ("(a) plan\n(b) build\n", [1, 2]),
    "machine-translated Chinese numerals": ("(one) plan\n(two) build\n(three) check\n", [1, 2, 3]),
    "indented": ("  (1) Plan.\n\u3000\u3000(2) Build.\n\t(3) Check.\n", [1, 2, 3]),
    "a number on a line of its own": ("Article 1\nPlan.\nArticle 2\n(Ends)\nIt ends.\n", [1, 2]),
    "a gap": ("(1) Plan.\n(2) Build.\n(4) Check.\n", [1, 2, 4]),
    "an excerpt": ("(7) Plan.\n(8) Build.\n", [7, 8]),
    "leading zeros": ("(01) Plan.\n(02) Build.\n", [1, 2]),
    "one paragraph": ("(1) Plan.", [1]),
    "no line breaks": (
        "General rules. Article 1 The office plans. Article 2 It builds. Article 3 It checks.",
        [1, 2, 3],
    ),
    "no line breaks in Chinese": ("总则。第一条　市里规划。第二条　区里建设。", [1, 2]),
    "ordinals between articles": (
        "Article 1 It plans. The second bureau builds. Article 3 It checks. Fourth the end.",
        [1, 2, 3, 4],
    ),
    "a chapter's heading before an article": (
        "Article 1 It plans. Chapter II Works Article 2 It builds.\nChapter III\nArticle 3 Ends.",
        [1, 2, 3],
    ),
    "parentheses without line breaks": ("(1) Plan roads. (2) Build. (3) Check.", [1, 2, 3]),
    "Chinese parentheses without line breaks": ("（一）规划；（二）建设。（三）检查。", [1, 2, 3]),
    "several styles that continue one another": (
        "(1) Plan.\n（二）建设。\nArticle 3 It checks.\nThe fourth bureau ends.\n第五条 完。\n",
        [1, 2, 3, 4, 5],
    ),
    "ordinals after gaps": (
        "Article 4 It plans.\n\nThe fifth bureau builds.\n\nArticle 6 It checks.\n\nTenth the end.",
        [4, 5, 6, 10],
    ),
    "a Chinese chapter's heading": ("第一条 规划。第二章 建设 第二条 修路。", [1, 2]),
    "nothing": ("", []),
    "blank lines": ("\n \n\u3000\n", []),
    "prose": ("The office plans. It builds, first of all, roads.\nThen it checks.\n", []),
}


@pytest.mark.parametrize("name", NUMBERINGS)
def test_the_numbering_is_recognised(name: str) -> None:
    text, expected = NUMBERINGS[name]
    assert numbers(text) == expected


NOT_PARAGRAPHS = {
    "a reference in mid-sentence": (
        "Article 1 It acts under Article 5 of the Law.\nArticle 2 It reports.",
        [1, 2],
    ),
    "a reference that begins a sentence": (
        "Article 1 It acts. Article 2 of the Law applies. Article 2 It reports.",
        [1, 2],
    ),
    "a reference to a later article": (
        "Article 1 It acts. Article 3 shall apply.\nArticle 2 It reports.\nArticle 3 It ends.",
        [1, 2, 3],
    ),
    "a reference at the beginning of a wrapped line": (
        "Article 1 Acts under\nArticle 2 Paragraph 1, as with\nArticle 7\nArticle 2 It reports.",
        [1, 2],
    ),
    "a reference with a paragraph": (
        "Article 1 Act. Article 2 (1) of the Law is kept. Article 2(3) applies.\nArticle 2 Report.",
        [1, 2],
    ),
    "a possessive": ("Article 1 It acts. Article 2's words bind.\nArticle 2 It ends.", [1, 2]),
    "a range": ("Article 1 It acts. Article 2-5 bind.\nArticle 2 It ends.", [1, 2]),
    "an abbreviation": ("Article 1 See cf. Article 2 Law of roads.\nArticle 2 It ends.", [1, 2]),
    "a reference outside articles": (
        "(1) It acts. Article 5 of the Law applies.\n(2) It reports under Article 6.",
        [1, 2],
    ),
    "a Chinese reference": (
        "第一条 依照第五条办理。第二条规定的除外。第二条、第三条不适用。\n第二条 报告。",
        [1, 2],
    ),
    "a Chinese paragraph reference": ("第一条 办理。第二条第一款不适用。\n第二条 报告。", [1, 2]),
    "letters inside an article": (
        "Article 1 It keeps:\n(a) lists\n(two) maps\nArticle 2 End.",
        [1, 2],
    ),
    "digits inside an article": ("Article 1 It keeps:\n1. lists\n2. maps\n3. plans", [1]),
    "parentheses inside an article": ("第一条 保存：\n（一）表；\n（二）图。\n第二条 完。", [1, 2]),
    "items inside the last article": ("Article 14 It keeps:\n\n(a) lists;\n\n(b) maps.\n", [14]),
    "digits inside parentheses": ("(1) It keeps:\n1. lists\n2. maps\n(2) It ends.", [1, 2]),
    "the same numbering, indented": ("(1) It keeps:\n   (1) lists\n   (2) maps\n(2) Ends.", [1, 2]),
    "ordinals inside an article": (
        "Article 1 Work:\nThe first bureau plans.\nThe second bureau builds.\nArticle 2 End.",
        [1, 2],
    ),
    "a long list of ordinals inside an article": (
        "Article 1 Work:\nThe first x.\nThe second x.\nThe third x.\nThe fourth x.\nArticle 2 End.",
        [1, 2],
    ),
    "a list inside the last paragraph": ("(1) Plan.\n(2) Keep:\n1. x\n2. y\n3. z\n4. w", [1, 2]),
    "a list inside the last article": ("Article 2 Keep:\n(1) x\n(2) y\n(3) z\n(4) w", [2]),
    "numbers in a sentence": ("(1) Keep. (2) above applies.\n(2) Build (3) roads. End.", [1, 2]),
    "an ordinal that counts something": (
        "Article 1 It works. The second paragraph stays. The second half too.\nArticle 2 It ends.",
        [1, 2],
    ),
    "adverbs in a sentence": (
        "Article 1 It works. Second, it rests.\nArticle 2 It ends.",
        [1, 2],
    ),
    "decimals": ("1. It builds\n1.5 million roads\n2. It ends.", [1, 2]),
    "a year": ("(2023) Gazette\n(1) Plan.\n(2) Build.", [1, 2]),
    "zero": ("(0) Nothing.\n(1) Plan.", [1]),
    "words in parentheses": ("(hereinafter) x\n(1) Plan.", [1]),
    "five digits": ("(12345) x\n(1) Plan.", [1]),
}


@pytest.mark.parametrize("name", NOT_PARAGRAPHS)
def test_what_only_looks_like_a_number_begins_no_paragraph(name: str) -> None:
    text, expected = NOT_PARAGRAPHS[name]
    assert numbers(text) == expected


def test_the_text_is_the_paragraph_without_its_number() -> None:
    text = "Article 1 It plans:\n(a) roads;\n(b) parks.\n\nIt reports. Article 2 It ends.\n"
    assert texts(text) == ["It plans:\n(a) roads;\n(b) parks.\nIt reports.", "It ends."]


def test_the_title_is_the_first_clause() -> None:
    assert titles("(1) Plan roads, parks and squares; keep lists. Report.\n(2) End.") == [
        "Plan roads, parks and squares",
        "End",
    ]
    assert titles("（一）统筹道路建设，编制规划。\n（二）完。") == ["统筹道路建设", "完"]


def test_a_heading_in_brackets_is_the_title() -> None:
    statement = parse_statement("Article 2 (Scope)\nIt plans.\nArticle 3 (Ends) It ends.")
    assert [(one.title, one.text) for one in statement.responsibilities] == [
        ("Scope", "It plans."),
        ("Ends", "It ends."),
    ]
    assert titles("第一条【目的】为了道路。") == ["目的"]


def test_a_title_is_one_line_and_bounded() -> None:
    long = "(1) " + "plan the roads, " * 100 + "\n(2) Wrap this\n    clause. End.\n(3) " + "x" * 500
    found = titles(long)
    assert all(len(title) <= MAX_TITLE_CHARACTERS for title in found)
    assert found[0].startswith("plan the roads") and found[0].endswith("roads…")
    assert found[1] == "Wrap this clause"


def test_what_belongs_to_no_paragraph_is_kept() -> None:
    statement = parse_statement(
        "Home > About\nOffice of Roads\n(1) Plan.\n\n(2) Build.\n\nAddress: 5 Road Street\n"
    )
    assert [one.text for one in statement.responsibilities] == ["Plan.", "Build."]
    assert statement.unnumbered == ("Home > About", "Office of Roads", "Address: 5 Road Street")


def test_a_chapter_heading_belongs_to_no_paragraph() -> None:
    statement = parse_statement("Article 1 Plan. Chapter II Works Article 2 Build.")
    assert [one.text for one in statement.responsibilities] == ["Plan.", "Build."]
    assert statement.unnumbered == ("Chapter II Works",)


def test_the_page_foot_does_not_hide_a_catch_all_clause() -> None:
    for foot in ("\nPrinted in May", "\n\nPrinted in May\n\nBy the office"):
        statement = parse_statement(
            "(1) Plan roads.\n(2) Do other work assigned by the city." + foot
        )
        assert [one.catch_all for one in statement.responsibilities] == [False, True]


def test_items_below_a_heading_of_duties_are_the_paragraphs() -> None:
    statement = parse_statement(
        "一、主要职责\n（一）修路。\n（二）完成市里交办的其他任务。\n二、内设机构\n（一）办公室。\n"
    )
    assert [(one.number, one.catch_all) for one in statement.responsibilities] == [
        (1, False),
        (2, True),
    ]
    assert statement.unnumbered == ("一、主要职责", "二、内设机构", "（一）办公室。")


def test_a_number_that_stands_twice_stays_visible() -> None:
    assert numbers("(1) Plan.\n(2) Build.\n(2) Check.\n(3) End.") == [1, 2, 2, 3]


@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r", "\u2028", "\x0b", "\x0c", "\x85"])
def test_line_ends_of_every_kind_count(line_end: str) -> None:
    assert texts(line_end.join(["(1) Plan.", "(2) Build.", "(3) End."])) == [
        "Plan.",
        "Build.",
        "End.",
    ]


def test_mixed_line_ends_and_a_byte_order_mark_do_no_harm() -> None:
    data = "\ufeff(1) Plan.\r\n\r\n(2) Build.\r(3) Check.\n（４）End.".encode()
    assert numbers(decode_statement(data)) == [1, 2, 3, 4]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "gb18030"])
def test_encodings_in_use_are_decoded(encoding: str) -> None:
    text = "（一）统筹规划。\n（二）建设道路。\n"
    assert numbers(decode_statement(text.encode(encoding))) == [1, 2]


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n\x00\xff", b"\xff\xfe\x00", b"(1) caf\xe9 x"])
def test_what_is_no_text_is_refused(data: bytes) -> None:
    with pytest.raises(InvalidStatement):
        parse_statement(decode_statement(data))


def test_control_characters_are_refused_with_their_line() -> None:
    with pytest.raises(InvalidStatement, match="line 3 "):
        parse_statement("(1) Plan.\r\n(2) Build.\n(3) \x1b[31mEnd.")


def test_a_file_beyond_the_bound_is_refused() -> None:
    with pytest.raises(InvalidStatement, match="at most"):
        decode_statement(b" " * (MAX_STATEMENT_BYTES + 1))
    with pytest.raises(InvalidStatement, match="more than"):
        parse_statement(" " * (MAX_STATEMENT_BYTES + 1))


def test_too_many_paragraphs_or_numbers_are_refused() -> None:
    with pytest.raises(InvalidStatement, match="paragraphs"):
        parse_statement("".join(f"({number}) x\n" for number in range(1, MAX_PARAGRAPHS + 2)))
    with pytest.raises(InvalidStatement, match="numbers"):
        parse_statement("(1) x\n" * (MAX_MARKERS + 1))


HOSTILE = (
    *(
        "\n",
        " ",
        "\u3000",
        "(",
        "(1",
        "Article ",
        "Article 5 ",
        " Article 5.",
        ". Article 5 X",
        "第",
    ),
    *(
        "第五条",
        "。第五条 甲",
        "The ",
        "\nThe fifth x",
        "Chapter ",
        "\nChapter 1 Article 5 ",
        "(a)\n",
    ),
    *(
        "一、职责\n",
        "\n" + " " * 250,
        "9",
        "一",
        "【",
        "e.g. Article 1 X",
        "other tasks ",
        "Twenty ",
    ),
    *("Part 1 ", "\nPart 1\n", ".)))", "“", "(1) Part 2 ", "\n一、职责\n（", "1.", "...", "\r"),
)


@pytest.mark.parametrize("start", ["", "(1) ", "Article 1 "])
@pytest.mark.parametrize("piece", HOSTILE)
def test_repetitions_that_would_stall_a_backtracking_parser_are_read(
    piece: str, start: str
) -> None:
    try:
        statement = parse_statement(start + piece * (60_000 // len(piece)))
    except InvalidStatement:
        return
    assert len(statement.responsibilities) <= MAX_PARAGRAPHS


_PIECES = st.sampled_from(
    [
        "(1)",
        "（二）",
        "Article 3",
        "第四条",
        "The fifth ",
        "Chapter 2 ",
        "1.",
        "一、",
        "\n",
        "\r\n",
        " ",
        ". ",
        "。",
        "of the Law",
        "other tasks assigned by",
        "other",
        "(a)",
        "\u3000",
        "x",
        "规定",
        ",",
        "(Title)",
    ]
)


@given(st.lists(_PIECES | st.text(max_size=4), max_size=60).map("".join))
def test_any_text_is_read_or_refused_and_nothing_is_lost(text: str) -> None:
    try:
        statement = parse_statement(text)
    except InvalidStatement:
        return
    kept = "".join(
        [*statement.unnumbered, *(one.title + one.text for one in statement.responsibilities)]
    )
    for letter in set("xL规"):
        assert kept.count(letter) >= text.count(letter)
    for paragraph in statement.responsibilities:
        assert paragraph.number >= 1
        assert "\n" not in paragraph.title
        assert len(paragraph.title) <= MAX_TITLE_CHARACTERS


_WORDS = st.lists(
    st.sampled_from(["plan", "roads", "and", "parks", "keep", "lists", "规划", "Article", "five"]),
    min_size=1,
    max_size=12,
).map(lambda words: " ".join(["Do", *words]) + ".")
_STYLES = ("({})", "（{}）", "{}.", "{}、", "Article {}", "第{}条 ")


@settings(max_examples=200)
@given(
    st.sampled_from(_STYLES),
    st.integers(1, 40),
    st.lists(_WORDS, min_size=1, max_size=20),
    st.sampled_from(["\n", "\r\n", "\n\n", "\r"]),
)
def test_a_statement_written_in_one_style_is_read_back(
    style: str, first: int, paragraphs: list[str], line_end: str
) -> None:
    lines = [f"{style.format(first + index)} {text}" for index, text in enumerate(paragraphs)]
    statement = parse_statement("Office of Roads\n" + line_end.join(lines))
    assert [(one.number, one.text) for one in statement.responsibilities] == [
        (first + index, text) for index, text in enumerate(paragraphs)
    ]
    assert statement.unnumbered == ("Office of Roads",)


@pytest.mark.parametrize(
    ("name", "expected", "catch_all"),
    [
        ("000_0bd7d834b4b09ecf.txt", list(range(1, 9)), [8]),
        ("001_cce268f7b9e6a469.txt", [], []),
        ("002_70bed260209a38a4.txt", list(range(2, 13)), []),
        ("003_5d1646cfb752701d.txt", list(range(1, 15)), []),
    ],
)
def test_published_documents_are_read_as_people_read_them(
    name: str, expected: list[int], catch_all: list[int]
) -> None:
    path = _SEEDS / name
    if not path.exists():
        pytest.skip(f"{path} is not here: reference documents are not part of the project")
    statement = parse_statement(decode_statement(path.read_bytes()))
    assert [one.number for one in statement.responsibilities] == expected
    assert [one.number for one in statement.responsibilities if one.catch_all] == catch_all
    value = statement.to_value()
    assert list(value) == ["responsibilities", "unnumbered"]
