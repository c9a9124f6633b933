"""What a node says is wrong, as tables: each finding, its absence, the order; whose clock is off; when it is logged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from consensus.tendermint.messages import RoundDigest, StatusMessage
from consensus.tendermint.rounds import Step
from node.diagnosis import (
    NOT_READY,
    OPERATORS_ONLY,
    Certificate,
    Code,
    Damage,
    Finding,
    Observation,
    clock_offset_ms,
    diagnose,
)
from node.engine import CONTRADICTED, DISAGREES
from node.peer_clocks import WINDOW_S, PeerClocks
from node.refusals import ENGINES_DIFFER, KEPT_S, Refusal, Refusals, reason_to_send
from node.watch import REMINDER_S, SETTLED, Journal, silent_validators
from tests.node.links import NAMES, NOW, Jurisdictions

NOW_MS = 1_790_000_000_000
DAY_MS = 86_400_000
GIB = 1024**3
WELL = Observation(
    name="beijing",
    now_ms=NOW_MS,
    height=811,
    validators=NAMES,
    online=frozenset(NAMES),
    quorum=3,
    faults_tolerated=1,
    clock_offsets_ms={"hebei": 30, "national": -1_900, "tianjin": 0},
    certificates=(
        Certificate("own", "beijing", NOW_MS + 400 * DAY_MS),
        Certificate("peer", "hebei", NOW_MS + 31 * DAY_MS),
        Certificate("authority", "hebei-ca", NOW_MS + 3_000 * DAY_MS),
    ),
    mempool_fill=0.9,
    disk_free_bytes=11 * GIB,
)
THEIRS = Refusal(is_ours=False, reason=ENGINES_DIFFER)
OURS = Refusal(is_ours=True, reason="a node of another chain: 'c'")
TWO_DOWN = frozenset({"beijing", "tianjin", "xiongan"})


def test_where_all_is_well_nothing_is_found() -> None:
    assert diagnose(WELL) == ()


# What differs from the observation above, and the findings: severity, code, sentence, or how it begins.
CASES: dict[str, tuple[dict[str, Any], list[tuple[str, str, str]]]] = {
    "CometBFT is down": (
        {"engine_problem": "CometBFT is not running, or does not answer"},
        [
            (
                "critical",
                "engine_silent",
                "CometBFT is not running, or does not answer: wait until both of this node's …",
            )
        ],
    ),
    "two of four down, nothing waits": (
        {"online": TWO_DOWN},
        [
            (
                "critical",
                "no_quorum",
                "no quorum: 2 of 4 validators online, 3 needed; missing hebei, national: start them …",
            )
        ],
    ),
    "no quorum while links come up": (
        {"online": TWO_DOWN, "is_starting": True},
        [
            (
                "warning",
                "no_quorum",
                "no quorum yet, just started: 2 of 4 validators online, 3 needed; missing hebei, national: wait …",
            )
        ],
    ),
    "more refuse us than may be faulty": (
        {
            "online": frozenset({"beijing"}),
            "refusals": {"hebei": THEIRS, "national": OURS, "tianjin": THEIRS, "xiongan": OURS},
        },
        [
            (
                "critical",
                "refused",
                f"hebei, tianjin refuse this node: '{ENGINES_DIFFER}': compare this node's configuration with theirs",
            ),
            ("critical", "no_quorum", "no quorum: 1 of 4 …"),
        ],
    ),
    "we refuse more than may be faulty": (
        {"online": TWO_DOWN, "refusals": {"hebei": OURS, "national": OURS}},
        [
            (
                "critical",
                "refused",
                "this node refuses hebei, national: 'a node of another chain: 'c'': compare …",
            ),
            ("critical", "no_quorum", "no quorum: 2 of 4 …"),
        ],
    ),
    "one that refuses us may lie, and others are linked": (
        {
            "online": TWO_DOWN,
            "refusals": {"hebei": THEIRS, "national": OURS, "tianjin": THEIRS},
        },
        [("critical", "no_quorum", "no quorum: 2 of 4 …")],
    ),
    "one of four is offline": (
        {"online": frozenset({"beijing", "national", "tianjin"})},
        [
            (
                "warning",
                "validators_offline",
                (
                    "validator hebei is offline or not linked here: 3 of 4 validators online, 3 needed; "
                    "as seen from here, one more failure stops the chain: start it or mend the links"
                ),
            )
        ],
    ),
    "two of seven may fail, and one has": (
        {
            "validators": (*NAMES, "x", "y", "z"),
            "online": frozenset({"beijing", "national", "tianjin", "x", "y", "z"}),
            "quorum": 5,
            "faults_tolerated": 2,
        },
        [
            (
                "warning",
                "validators_offline",
                "validator hebei is offline or not linked here: 6 of 7 validators online, 5 needed; as seen …",
            )
        ],
    ),
    "one of four is offline while links come up": (
        {"online": frozenset({"beijing", "national", "tianjin"}), "is_starting": True},
        [],
    ),
    "two of four down, a height is under way": (
        {"online": TWO_DOWN, "round": 6, "is_started": True, "waiting_s": 35.2},
        [
            (
                "critical",
                "stalled",
                (
                    "stalled at height 812, round 6, for 35 s: 2 of 4 validators online, 3 needed; "
                    "missing hebei, national: start them …"
                ),
            ),
            ("critical", "no_quorum", "no quorum: 2 of 4 …"),
        ],
    ),
    "all online, two do not vote": (
        {
            "round": 2,
            "is_started": True,
            "waiting_s": 11.0,
            "silent": ("hebei", "national"),
        },
        [
            (
                "critical",
                "stalled",
                (
                    "stalled at height 812, round 2, for 11 s: 4 of 4 validators online, 3 needed; "
                    "online, but not voting: hebei, national: look …"
                ),
            )
        ],
    ),
    "one is missing, one does not vote": (
        {
            "online": frozenset({"beijing", "tianjin", "national"}),
            "is_started": True,
            "waiting_s": 11.0,
            "silent": ("hebei", "national"),
        },
        [
            (
                "critical",
                "stalled",
                (
                    "stalled at height 812, round 0, for 11 s: 3 of 4 validators online, 3 needed; "
                    "online, but not voting: national: …"
                ),
            ),
            ("warning", "validators_offline", "validator hebei is offline or not linked here: …"),
        ],
    ),
    "a proposer's clock does not fit": (
        {"round": 1, "is_started": True, "waiting_s": 11.0, "untimely": "hebei"},
        [
            (
                "critical",
                "stalled",
                (
                    "stalled at height 812, round 1, for 11 s: 4 of 4 validators online, 3 needed; "
                    "the time of the block that hebei proposed does not fit this node's clock: …"
                ),
            )
        ],
    ),
    "nothing known explains it": (
        {"round": 1, "is_started": True, "waiting_s": 11.0},
        [
            (
                "critical",
                "stalled",
                (
                    "stalled at height 812, round 1, for 11 s: 4 of 4 validators online, 3 needed; "
                    "all online validators vote: …"
                ),
            )
        ],
    ),
    "work waits, but the height has not started": (
        {"waiting_s": 12.0},
        [
            (
                "critical",
                "stalled",
                "stalled at height 812, for 12 s: 4 of 4 validators online, 3 needed; transactions wait, but …",
            )
        ],
    ),
    "a height that takes no longer than it may": (
        {"is_started": True, "waiting_s": 10.0, "silent": ("hebei",), "untimely": "hebei"},
        [],
    ),
    "a longer patience, where rounds are longer": (
        {"is_started": True, "waiting_s": 50.0, "patience_s": 60.0},
        [],
    ),
    "diverged, by its own core": (
        {"diverged": DISAGREES},
        [
            (
                "critical",
                "diverged",
                f"{DISAGREES}: compare its release with the others', then check its data with `mulu node fsck`",
            )
        ],
    ),
    "diverged, by the others' checkpoints": (
        {"diverged": CONTRADICTED},
        [
            (
                "critical",
                "diverged",
                f"{CONTRADICTED}: compare its release …",
            )
        ],
    ),
    "damaged, the height known": (
        {"damage": Damage("set aside", 811), "height": 40},
        [
            (
                "critical",
                "database_damaged",
                "database damaged at height 811: re-syncing from the others, 40 blocks are here: examine the disk",
            )
        ],
    ),
    "damaged, the height not known": (
        {"damage": Damage("set aside", None), "height": 0},
        [("critical", "database_damaged", "database damaged: re-syncing from the others, 0 …")],
    ),
    "two blocks behind": ({"behind": 2, "unhelped_s": 15.0}, []),
    "catching up": (
        {"behind": 3},
        [("warning", "catching_up", "catching up: 3 blocks behind: wait until they are fetched")],
    ),
    "behind, and nobody helps": (
        {"behind": 300, "unhelped_s": 21.0},
        [
            (
                "critical",
                "sync_stuck",
                "300 blocks behind, and no peer has sent one for 21 s: link this node to a node that has them",
            )
        ],
    ),
    "no checkpoint": (
        {"is_proven": False},
        [("warning", "no_checkpoint", "no checkpoint with a quorum of signatures yet: …")],
    ),
    "a checkpoint that the guard forbids": (
        {"unsigned_checkpoint": 811},
        [
            (
                "warning",
                "checkpoint_unsigned",
                "checkpoint of height 811 not signed: the guard holds another one, …",
            )
        ],
    ),
    "the guard is silent": (
        {"is_guard_silent": True},
        [
            (
                "warning",
                "guard_silent",
                "not voting until a height that began after this start is decided (last-sign file missing …",
            )
        ],
    ),
    "our clock is 40 s behind": (
        {"clock_offsets_ms": {"hebei": 40_000, "national": 39_000, "tianjin": 41_000}},
        [
            (
                "critical",
                "clock_off",
                "my clock is 40 s off, behind the median of 3 validators: set it by NTP; …",
            )
        ],
    ),
    "our clock is 2.5 s ahead": (
        {"clock_offsets_ms": {"hebei": -2_500, "national": -2_500, "tianjin": -2_400}},
        [
            (
                "warning",
                "clock_off",
                "my clock is 2.5 s off, ahead of the median of 3 validators: …",
            )
        ],
    ),
    "one peer's clock is off": (
        {"clock_offsets_ms": {"hebei": 40_000, "national": 5, "tianjin": 0}},
        [
            (
                "warning",
                "peer_clock_off",
                "the clock of hebei is 40 s ahead of the others': have it set by NTP",
            )
        ],
    ),
    "one of two peers' clocks is off": (
        {"clock_offsets_ms": {"hebei": -40_000, "tianjin": 10}},
        [
            (
                "warning",
                "peer_clock_off",
                "the clock of hebei is 40 s behind the others': have it set by NTP",
            )
        ],
    ),
    "the only peer's clock differs": (
        {"clock_offsets_ms": {"hebei": 40_000}},
        [
            (
                "warning",
                "peer_clock_off",
                "the clock of hebei is 40 s ahead of this node's: one of the two is wrong: have it set by NTP",
            )
        ],
    ),
    "our clock and a peer's are off": (
        {"clock_offsets_ms": {"hebei": 0, "national": 40_000, "tianjin": 40_000}},
        [
            ("critical", "clock_off", "my clock is 40 s off, behind the median of 3 …"),
            ("warning", "peer_clock_off", "the clock of hebei is 40 s behind the others': …"),
        ],
    ),
    "our certificate expires": (
        {"certificates": (Certificate("own", "beijing", NOW_MS + 12 * DAY_MS + 5),)},
        [
            (
                "warning",
                "certificate_expires",
                (
                    "certificate of beijing expires in 12 days: "
                    "issue a new one with `mulu node renew HOME --authority CA.pem` and restart"
                ),
            )
        ],
    ),
    "peers' certificates expire": (
        {
            "certificates": (
                Certificate("peer", "hebei", NOW_MS + 30 * DAY_MS),
                Certificate("peer", "national", NOW_MS + DAY_MS + 5),
                Certificate("peer", "tianjin", NOW_MS + 5),
            )
        },
        [
            ("critical", "certificate_expires", "certificate of national expires in 1 day: …"),
            ("critical", "certificate_expires", "certificate of tianjin expires within a day: …"),
            (
                "warning",
                "certificate_expires",
                (
                    "certificate of hebei expires in 30 days: issue a new one with "
                    "`mulu node renew HOME --authority CA.pem` and restart that node"
                ),
            ),
        ],
    ),
    "certificates have expired": (
        {
            "certificates": (
                Certificate("own", "beijing", NOW_MS - 5),
                Certificate("authority", "hebei-ca", NOW_MS - 3 * DAY_MS),
            )
        },
        [
            ("critical", "certificate_expires", "certificate of beijing has expired: …"),
            (
                "critical",
                "authority_expires",
                "certificate authority hebei-ca expired 3 days ago: register a new one …",
            ),
        ],
    ),
    "the mempool is full": (
        {"mempool_fill": 0.95},
        [("warning", "mempool_full", "mempool 95% full: transactions are refused or …")],
    ),
    "the disk is nearly full": (
        {"disk_free_bytes": 9 * GIB},
        [("warning", "disk_low", "9.0 GiB of disk are free: make room; …")],
    ),
    "the disk is full": (
        {"disk_free_bytes": GIB // 2},
        [("critical", "disk_low", "0.5 GiB of disk are free: make room; …")],
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_each_finding_stands_where_it_is_due_and_nowhere_else(case: str) -> None:
    changes, expected = CASES[case]
    found = diagnose(replace(WELL, **changes))
    assert [(one.severity, one.code) for one in found] == [(s, c) for s, c, _ in expected]
    for finding, (_, _, text) in zip(found, expected, strict=True):
        if text.endswith("…"):
            assert finding.text.startswith(text.removesuffix("…"))
        else:
            assert finding.text == text


def test_every_code_has_a_case() -> None:
    assert {code for _, expected in CASES.values() for _, code, _ in expected} == set(Code)


def test_critical_findings_stand_first_and_otherwise_in_the_order_of_the_codes() -> None:
    everything: dict[str, Any] = {}
    for changes, _ in CASES.values():
        everything |= changes
    everything |= CASES["our clock and a peer's are off"][0] | CASES["certificates have expired"][0]
    found = diagnose(replace(WELL, **everything))
    codes = list(Code)
    places = [(one.severity != "critical", codes.index(one.code)) for one in found]
    assert places == sorted(places)
    assert len(found) > 10


def test_findings_carry_their_figures_and_whom_they_concern() -> None:
    stalled, _ = diagnose(replace(WELL, **CASES["two of four down, a height is under way"][0]))
    assert stalled.to_json() == {
        "severity": "critical",
        "code": "stalled",
        "text": stalled.text,
        "names": ["hebei", "national"],
        "numbers": {
            "height": 812,
            "round": 6,
            "seconds": 35,
            "online": 2,
            "total": 4,
            "needed": 3,
        },
    }
    [clock] = diagnose(replace(WELL, **CASES["our clock is 40 s behind"][0]))
    assert clock.numbers == {"offset_ms": -40_000, "measured": 3}


def test_only_what_makes_answers_old_ends_readiness_and_free_disk_is_nobody_elses_business() -> (
    None
):
    assert Code.CLOCK_OFF not in NOT_READY
    assert Code.VALIDATORS_OFFLINE not in NOT_READY
    assert Code.CERTIFICATE_EXPIRES not in NOT_READY
    [disk] = diagnose(replace(WELL, disk_free_bytes=0))
    assert not disk.is_public
    assert not disk.ends_readiness
    assert frozenset({disk.code}) == OPERATORS_ONLY


@given(
    honest=st.lists(st.integers(-1_000, 1_000), min_size=2, max_size=6),
    liar=st.integers(-(10**15), 10**15),
)
def test_one_peer_never_makes_our_clock_look_wrong(honest: list[int], liar: int) -> None:
    offsets = {f"v{number}": value for number, value in enumerate([*honest, liar])}
    median_ms = clock_offset_ms(replace(WELL, clock_offsets_ms=offsets))
    assert median_ms is not None
    assert abs(median_ms) <= 1_000


def test_where_no_more_are_measured_than_may_be_faulty_our_clock_is_not_judged() -> None:
    assert clock_offset_ms(replace(WELL, clock_offsets_ms={})) is None
    assert clock_offset_ms(replace(WELL, clock_offsets_ms={"hebei": 9_000})) is None
    two = replace(WELL, clock_offsets_ms={"hebei": 9_000, "tianjin": 8_000}, faults_tolerated=2)
    assert clock_offset_ms(two) is None


# --- refusals ------------------------------------------------------------------------------------------


def test_a_refusal_is_news_for_a_while_and_the_newest_counts() -> None:
    refusals = Refusals()
    refusals.note("hebei", OURS, 0.0)
    refusals.note("hebei", THEIRS, 10.0)
    refusals.note("tianjin", OURS, 20.0)
    assert refusals.recent(10.0 + KEPT_S) == {"hebei": THEIRS, "tianjin": OURS}
    assert refusals.recent(10.1 + KEPT_S) == {"tianjin": OURS}


@given(st.text(max_size=300))
def test_any_reason_fits_into_a_closing_frame(text: str) -> None:
    assert len(reason_to_send(text).encode()) <= 123
    assert reason_to_send(ENGINES_DIFFER) == ENGINES_DIFFER


# --- peers' clocks ------------------------------------------------------------------------------------


@given(
    offset_ms=st.integers(-100_000, 100_000),
    delays_ms=st.lists(st.integers(0, 60_000), min_size=1, max_size=20),
    fastest_ms=st.integers(0, 1_000),
    back_ms=st.integers(0, 1_000),
)
def test_a_slow_message_accuses_nobody(
    offset_ms: int, delays_ms: list[int], fastest_ms: int, back_ms: int
) -> None:
    clocks = PeerClocks()
    for delay_ms in [*delays_ms, fastest_ms]:
        clocks.told("hebei", offset_ms - delay_ms, 1.0)
    round_trip_ms = fastest_ms + back_ms + 1
    [found] = clocks.offsets_ms({"hebei": round_trip_ms / 1000}, 2.0).values()
    assert abs(found) <= abs(offset_ms)
    assert abs(found - offset_ms) <= round_trip_ms


def test_a_peer_is_judged_by_no_single_word_nor_before_its_round_trip_is_known() -> None:
    clocks = PeerClocks()
    clocks.told("hebei", 40_000, 1.0)
    assert clocks.offsets_ms({"hebei": 0.001}, 1.0) == {}
    clocks.told("hebei", 39_000, 1.0)
    assert clocks.offsets_ms({}, 1.0) == {}
    assert clocks.offsets_ms({"hebei": None}, 1.0) == {}
    assert clocks.offsets_ms({"hebei": 0.0}, 1.0) == {"hebei": 40_000}
    clocks.forget("hebei")
    assert clocks.offsets_ms({"hebei": 0.001}, 1.0) == {}


def test_a_clock_that_was_put_right_is_right_after_two_windows_and_an_old_word_counts_no_more() -> (
    None
):
    clocks = PeerClocks()
    clocks.told("hebei", 40_000, 0.0)
    for second in range(1, int(2 * WINDOW_S) + 1):
        clocks.told("hebei", -1, float(second))
    assert clocks.offsets_ms({"hebei": 0.001}, 2 * WINDOW_S) == {"hebei": 0}
    assert clocks.offsets_ms({"hebei": 0.001}, 4.5 * WINDOW_S) == {}


# --- who has not voted --------------------------------------------------------------------------------

A_BLOCK = bytes(32)


@pytest.mark.parametrize(
    ("round_", "step", "digests", "expected"),
    [
        (0, Step.UNSTARTED, (), ()),
        (0, Step.PROPOSE, (), ()),
        (0, Step.PREVOTE, (), NAMES),
        (
            0,
            Step.PREVOTE,
            (RoundDigest(0, True, ((None, 0b0001), (A_BLOCK, 0b1000)), ()),),
            ("hebei", "national"),
        ),
        (
            0,
            Step.PRECOMMIT,
            (RoundDigest(0, True, ((A_BLOCK, 0b1011),), ((A_BLOCK, 0b0100),)),),
            (),
        ),
        # A round that has just begun says nothing: the one before does.
        (
            2,
            Step.PROPOSE,
            (
                RoundDigest(1, True, ((None, 0b0111),), ()),
                RoundDigest(2, True, ((None, 0b1000),), ()),
            ),
            ("tianjin",),
        ),
    ],
)
def test_validators_without_a_vote_of_the_newest_round_with_votes_are_named(
    round_: int, step: Step, digests: tuple[RoundDigest, ...], expected: tuple[str, ...]
) -> None:
    validators = Jurisdictions(NOW).membership().validators
    status = StatusMessage(812, round_, step, digests)
    assert silent_validators(status, validators) == expected


# --- the log ------------------------------------------------------------------------------------------

DOWN = Finding("critical", Code.NO_QUORUM, "no quorum", ("hebei",), {"online": 2})
HEBEI = Finding("warning", Code.CERTIFICATE_EXPIRES, "expires in 12 days", ("hebei",))
TIANJIN = replace(HEBEI, names=("tianjin",))


def logged(*ticks: tuple[Finding, ...], interval_s: float = 1.0) -> list[tuple[str, str]]:
    """Return level and text of what the journal writes."""
    journal = Journal()
    with structlog.testing.capture_logs() as lines:
        for number, findings in enumerate(ticks):
            journal.write(findings, number * interval_s)
    return [(line["log_level"], line["event"]) for line in lines]


def test_a_finding_is_logged_once_when_it_has_come_to_stay_and_once_when_it_has_gone() -> None:
    there = (DOWN,)
    assert logged(*[there] * (SETTLED - 1)) == []
    assert logged(*[there] * 50) == [("warning", "no quorum")]
    gone = [("warning", "no quorum"), ("info", "no longer found")]
    assert logged(*[there] * 50, *[()] * 50) == gone


def test_what_flutters_is_no_news() -> None:
    assert logged((DOWN,), (DOWN,), (), (DOWN,), (DOWN,), ()) == []
    assert logged(*[(DOWN,)] * 5, (), (DOWN,), (), *[(DOWN,)] * 5) == [("warning", "no quorum")]


def test_other_names_are_other_news_of_certificates_but_not_of_a_quorum() -> None:
    assert logged(*[(HEBEI, TIANJIN)] * 5) == [("warning", "expires in 12 days")] * 2
    fewer = replace(DOWN, names=("hebei", "national"))
    assert logged(*[(DOWN,)] * 5, *[(fewer,)] * 5) == [("warning", "no quorum")]


def test_a_start_without_quorum_is_no_news_and_nothing_is_called_gone_that_has_grown_worse() -> (
    None
):
    starting = replace(DOWN, severity="warning", text="just started")
    assert logged(*[(starting,)] * 10, *[(DOWN,)] * 10) == [("warning", "no quorum")]


def test_one_more_validator_offline_is_news() -> None:
    one = Finding("warning", Code.VALIDATORS_OFFLINE, "one is offline", ("hebei",))
    two = replace(one, text="two are offline", names=("hebei", "national"))
    lines = logged(*[(one,)] * 5, *[(two,)] * 10, *[()] * 5)
    assert lines == [
        ("warning", "one is offline"),
        ("warning", "two are offline"),
        ("info", "no longer found"),
    ]


def test_what_becomes_critical_is_news() -> None:
    critical = replace(HEBEI, severity="critical", text="expires in 2 days")
    lines = logged(*[(HEBEI,)] * 5, *[(critical,)] * 2)
    assert lines == [("warning", "expires in 12 days")]
    lines = logged(*[(HEBEI,)] * 5, *[(critical,)] * 5)
    assert lines[:2] == [("warning", "expires in 12 days"), ("warning", "expires in 2 days")]


def test_what_stays_is_logged_again_once_a_day() -> None:
    lines = logged(*[(HEBEI,)] * (SETTLED + 48), interval_s=REMINDER_S / 24)
    assert lines == [("warning", "expires in 12 days")] * 3


# --- the operator's page ------------------------------------------------------------------------------


def test_the_operators_page_explains_every_code() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "OPERATING.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    for code in Code:
        assert any(f"`{code.value}`" in row.split("|")[1] for row in rows), code
