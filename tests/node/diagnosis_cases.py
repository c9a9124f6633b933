"""What a node may observe, and the findings that are due: a table."""

from __future__ import annotations

from typing import Any

from node.engine import CONTRADICTED, DISAGREES
from node.observation import Certificate, Damage, Observation, UnsignedCheckpoint
from node.refusals import ENGINES_DIFFER, Refusal
from tests.node.links import NAMES

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
    "a quorum that is just back": (
        {"round": 2, "is_started": True, "waiting_s": 11.0, "quorum_s": 1.2, "silent": ("hebei",)},
        [
            (
                "warning",
                "stalled",
                (
                    "stalled at height 812, round 2, for 11 s: 4 of 4 validators online, 3 needed, "
                    "back for 1 s: wait"
                ),
            )
        ],
    ),
    "a quorum that has been back for long": (
        {"round": 2, "is_started": True, "waiting_s": 41.0, "quorum_s": 11.0, "silent": ("hebei",)},
        [
            (
                "critical",
                "stalled",
                "stalled at height 812, round 2, for 41 s: 4 of 4 validators online, 3 needed; …",
            )
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
        {"unsigned_checkpoint": UnsignedCheckpoint(811)},
        [
            (
                "warning",
                "checkpoint_unsigned",
                "checkpoint of height 811 not signed: the guard holds another one, …",
            )
        ],
    ),
    "another log key is registered": (
        {"unsigned_checkpoint": UnsignedCheckpoint(811, ("log",))},
        [
            (
                "warning",
                "keys_differ",
                "checkpoint of height 811 not signed: the ledger registers another log key for beijing than …",
            )
        ],
    ),
    "other keys are registered": (
        {"unsigned_checkpoint": UnsignedCheckpoint(811, ("log", "witness"))},
        [
            (
                "warning",
                "keys_differ",
                "checkpoint of height 811 not signed: the ledger registers other log and witness keys for beijing …",
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
    "the database of the index fails": (
        {"is_index_failing": True},
        [("warning", "index_unavailable", "the index's database fails: lists, …")],
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
