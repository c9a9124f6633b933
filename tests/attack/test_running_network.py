"""Crafted transactions and requests against a running network: problems for who sends them, nothing for the others."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ledger.codec import encode
from ledger.errors import StorageError
from ledger.operations import OperationTable, OperationType, operation_table
from ledger.state import state_key
from ledger.suite import signed_bytes
from ledger.transactions import KIND as TRANSACTION
from node.operation_table import OPERATIONS
from tests.attack.bodies import EXTREMES, ODD_TEXTS
from tests.attack.planted import KIND, PLANTED, Harmless, Planted, harmless, planted
from tests.attack.sloppy import oddities, pack
from tests.node.cluster import Cluster, eventually

LOCAL = "test.local.fail"
"""An operation that only one node cannot carry out: its memory is full, its disk fails."""

FLOOD_ROW = "flood of valid, invalid, duplicate, replayed, foreign-chain transactions"
LOST = "xiongan"
EVERYWHERE = (*OPERATIONS.values(), PLANTED)
SOUND: OperationTable = operation_table(
    EVERYWHERE, (OperationType(LOCAL, "Succeed.", Harmless, harmless, frozenset(), ()),)
)
FAILING: OperationTable = operation_table(
    EVERYWHERE, (OperationType(LOCAL, "Fail as told.", Planted, planted, frozenset(), ()),)
)
FEW = settings(
    max_examples=max(30, settings().max_examples if "HYPOTHESIS_PROFILE" in os.environ else 0),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    home = tmp_path_factory.mktemp("cluster") / "home"
    with Cluster(home, operations=SOUND) as cluster:
        yield cluster


def all_are_well(cluster: Cluster) -> None:
    assert cluster.publish().status == "committed"
    assert not any(task.done() for task in cluster._tasks.values())
    tips = [node._application for node in cluster.nodes.values()]
    eventually(lambda: len({one.tip.app_hash for one in tips}) == 1)


# --- handlers that fail ---------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["ZeroDivisionError", "a panic", "CancelledError"])
def test_a_failing_handler_is_recorded_and_every_node_goes_on(cluster: Cluster, how: str) -> None:
    name = how.lower().replace(" ", "-")
    result = cluster.submit("beijing", "tongzhou-editor", (KIND, {"name": name, "how": how}))
    assert (result.status, result.code) == ("failed", "internal")
    all_are_well(cluster)
    for node in cluster.nodes.values():
        assert node._application.state.get(state_key("test", "planted", name)) is None


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("StorageError", StorageError),
        ("MemoryError", MemoryError),
        ("RecursionError", RecursionError),
    ],
)
def test_a_node_that_cannot_execute_a_block_stops_alone_and_catches_up_when_it_can(
    cluster: Cluster, how: str, error: type[Exception]
) -> None:
    cluster.stop(LOST)
    cluster.start(LOST, FAILING)
    with cluster.client(LOST) as client:
        eventually(lambda: client.ready()[0])
    result = cluster.submit("beijing", "tongzhou-editor", (LOCAL, {"name": how, "how": how}))
    assert result.status == "committed"
    ended = cluster.failure(LOST)
    assert isinstance(ended, BaseExceptionGroup)
    assert ended.subgroup(error) is not None
    assert cluster.publish().status == "committed"
    cluster.start(LOST)
    with cluster.client(LOST) as client:
        eventually(lambda: client.ready()[0])
    all_are_well(cluster)


# --- submissions over HTTP ------------------------------------------------------------------------


def post(
    cluster: Cluster, content: bytes, content_type: str = "application/json"
) -> httpx.Response:
    return httpx.post(
        f"{cluster.network.node('beijing').api}/v1/transactions",
        content=content,
        headers={"Content-Type": content_type},
        trust_env=False,
        timeout=30,
    )


def check_answer(answer: httpx.Response, count: int | None = None) -> None:
    """Every answer is a problem with a code, or says of each transaction why it is refused."""
    if answer.status_code != 200:
        assert 400 <= answer.status_code < 500, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"]
        return
    results = answer.json()["results"]
    assert count is None or len(results) == count
    for one in results:
        assert one["status"] in ("refused", "failed"), one
        assert one["code"] and one["code"] != "internal"


def submission(raws: list[bytes], **fields: Any) -> bytes:
    texts = [base64.b64encode(raw).decode("ascii") for raw in raws]
    return json.dumps({"transactions": texts, "timeout_s": 5, **fields}).encode()


@pytest.mark.row(FLOOD_ROW)
@FEW
@given(data=st.data())
def test_crafted_transactions_in_arrays_are_refused_one_by_one(
    cluster: Cluster, data: st.DataObject
) -> None:
    signer = cluster.key("tongzhou-editor")
    good = cluster.transaction("tongzhou-editor", ("ledger.key.revoke", {"key": "x"}))
    raws = []
    for _ in range(data.draw(st.integers(1, 8))):
        odd = data.draw(st.one_of(oddities, st.sampled_from(EXTREMES), st.sampled_from(ODD_TEXTS)))
        part = data.draw(st.integers(0, 6))
        parts: list[Any] = [
            good.chain_id,
            str(good.signer),
            good.valid_until_ms,
            os.urandom(16),
            (("ledger.key.revoke", {"key": "x"}),),
        ]
        if part < 5:
            parts[part] = odd
        body = pack(tuple(parts)) if part < 6 else data.draw(st.binary(max_size=200))
        raws.append(pack((body, signer.sign(signed_bytes(TRANSACTION, body)))))
    raws += [b"", good.raw[:-1], good.raw + b"\x00", encode((good.body, bytes(64)))]
    check_answer(post(cluster, submission(raws)), len(raws))


json_values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=20),
        st.sampled_from([one for one in ODD_TEXTS if len(one) < 300]),
        st.sampled_from(["\ud800", "AAAA", "AAA", "A===", "_-8=", "QUFB\n", "\uff21AAA"]),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(
            st.sampled_from(["transactions", "wait", "timeout_s", "\ud800", "zz", ""]),
            inner,
            max_size=4,
        ),
    ),
    max_leaves=8,
)


@FEW
@given(value=json_values)
def test_any_json_is_answered_by_a_problem(cluster: Cluster, value: Any) -> None:
    check_answer(post(cluster, json.dumps(value).encode()))


@FEW
@given(content=st.binary(max_size=300), of=st.sampled_from(["application/json", "text/plain", ""]))
def test_any_bytes_are_answered_by_a_problem(cluster: Cluster, content: bytes, of: str) -> None:
    check_answer(post(cluster, content, of))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"null",
        b'{"transactions": []}',
        b'{"transactions": ["' + b"A" * 80_008 + b'"]}',
        b'{"transactions": ["\\ud800"]}',
        b'{"\\ud800": 1}',
        b'{"transactions": ["AAAA"], "wait": "\\ud800"}',
        b'{"transactions": ["AAAA"], "timeout_s": NaN}',
        b'{"transactions": ["AAAA"], "timeout_s": 1e999}',
        b'{"transactions": ["AAAA"], "timeout_s": -1}',
        b'{"transactions": ["AAAA"], "wait": "for ever"}',
        b'{"transactions": ["AAAA"], "transactions": [7]}',
        b'{"transactions": ["AAAA"], "signer": "me"}',
        b'{"transactions": {"0": "AAAA"}}',
        b'{"transactions": ' + b"[" * 9_000 + b"]" * 9_000 + b"}",
        b'{"transactions": [' + b'"",' * 2_000 + b'""]}',
        b"\xff\xfe{\x00}\x00",
        b'{"transactions": ["\xff"]}',
        b"9" * 10_000,
    ],
    ids=lambda content: repr(content[:48]),
)
def test_a_body_that_is_no_submission_is_answered_by_a_problem(
    cluster: Cluster, content: bytes
) -> None:
    check_answer(post(cluster, content))


@pytest.mark.row(FLOOD_ROW)
def test_the_same_transaction_many_times_in_one_array_is_one(cluster: Cluster) -> None:
    good = cluster.transaction("tongzhou-editor", (LOCAL, {"name": "often"}))
    results = post(cluster, submission([good.raw] * 50)).json()["results"]
    assert {one["id"] for one in results} == {good.id.hex()}
    assert [one["status"] for one in results] == ["committed"] * 50
    assert len({one["index"] for one in results}) == 1


@pytest.mark.row(FLOOD_ROW)
def test_after_all_this_every_node_is_well(cluster: Cluster) -> None:
    all_are_well(cluster)
