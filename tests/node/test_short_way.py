"""The short way to a state value: what is answered there, what is left to the long way, and to whom neither answers."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import httpx
import pytest

from ledger.codec import Value
from ledger.keys import SoftwareSigner
from node.api.asgi import Receive, Scope, Send
from node.api.server import MAX_BODY_BYTES
from node.api.short_way import PATH, ShortWay
from node.auth import make_token
from node.client import NodeClient
from node.errors import ApiProblem
from tests.node.cluster import TONGZHOU, Cluster

NODE = "xiongan"
KEY = f"ledger/organisation/{TONGZHOU}"
HEBEI_CENTRE = "12130000MB1A00116A"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster") / "home") as cluster:
        assert cluster.publish().status == "committed"
        yield cluster


@pytest.fixture(scope="module")
def auditor(cluster: Cluster) -> Iterator[NodeClient]:
    with cluster.client(NODE, "national-auditor") as client:
        yield client


def token_of(cluster: Cluster, signer: SoftwareSigner) -> str:
    return f"Bearer {make_token(signer, cluster.network.chain_id, int(time.time()))}"


def ask(cluster: Cluster, token: str, key: str = KEY) -> httpx.Response:
    url = f"{cluster.network.node(NODE).api}{PATH}?key={key}"
    return httpx.get(url, headers={"Authorization": token}, trust_env=False, timeout=30)


# --- which way --------------------------------------------------------------------------------------


@dataclass
class LongWay:
    """Counts the requests that are passed on."""

    passed: int = 0
    sent: list[Any] = field(default_factory=list)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.passed += 1

    def ask(self, cluster: Cluster, scope: dict[str, Any]) -> None:
        """Put a request to a node's short way, with this as the long one."""

        async def receive() -> Any:
            raise AssertionError("a plain question has no body")

        async def send(message: Any) -> None:
            self.sent.append(message)

        way = ShortWay(self, cluster.nodes[NODE]._services)
        cluster.call(lambda: asyncio.ensure_future(way(scope, receive, send)))
        # What was begun on the loop before this call has run: it waits for nothing.
        cluster.call(lambda: None)


def plain(cluster: Cluster, **changes: Any) -> dict[str, Any]:
    token = token_of(cluster, cluster.key("national-auditor")).encode("ascii")
    return {
        "type": "http",
        "method": "GET",
        "path": PATH,
        "query_string": f"key={KEY}".encode("ascii"),
        "headers": [(b"host", b"x"), (b"authorization", token)],
        **changes,
    }


def test_a_members_plain_question_is_answered_without_the_framework(cluster: Cluster) -> None:
    way = LongWay()
    way.ask(cluster, plain(cluster))
    assert way.passed == 0
    start, body = way.sent
    assert start["status"] == 200
    answer = json.loads(body["body"])
    assert answer["key"] == KEY
    assert answer["value"] is not None


@pytest.mark.parametrize(
    "changes",
    [
        {"type": "lifespan"},
        {"method": "HEAD"},
        {"path": "/v1/blocks"},
        {"query_string": b""},
        {"query_string": f"key={KEY}&key={KEY}".encode("ascii")},
        {"query_string": b"key=a%20b"},
        {"headers": []},
    ],
    ids=repr,
)
def test_whatever_is_not_plain_is_passed_on(cluster: Cluster, changes: dict[str, Any]) -> None:
    way = LongWay()
    way.ask(cluster, plain(cluster, **changes))
    assert (way.passed, way.sent) == (1, [])


@pytest.mark.parametrize("header", [(b"content-length", b"0"), (b"transfer-encoding", b"chunked")])
def test_a_question_that_declares_a_body_is_passed_on(
    cluster: Cluster, header: tuple[bytes, bytes]
) -> None:
    way, scope = LongWay(), plain(cluster)
    way.ask(cluster, {**scope, "headers": [*scope["headers"], header]})
    assert (way.passed, way.sent) == (1, [])


def test_a_question_that_declares_too_long_a_body_is_refused(cluster: Cluster) -> None:
    url = httpx.URL(cluster.network.node(NODE).api)
    assert url.port is not None
    request = (
        f"GET {PATH}?key={KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: {MAX_BODY_BYTES + 1}\r\n"
        f"Authorization: {token_of(cluster, cluster.key('national-auditor'))}\r\n\r\n"
    )
    with socket.create_connection((url.host, url.port), timeout=30) as connection:
        connection.sendall(request.encode("ascii"))
        assert connection.recv(100).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("name", ["windows", "none", "%E5%90%8D"])
def test_the_short_way_to_a_state_answers_as_the_long_way_does(
    auditor: NodeClient, name: str
) -> None:
    short = f"{PATH}?key=directory/instrument/{TONGZHOU}-{name}"
    answers = [auditor.request("GET", path) for path in (short, f"{short}&long=1")]
    assert answers[0].json() == answers[1].json()
    assert answers[0].headers["content-type"] == answers[1].headers["content-type"]
    assert answers[0].json()["key"].endswith(unquote(name))


@pytest.mark.parametrize(
    ("key", "authorization", "status"),
    [
        ("directory/instrument/a/b", "", 422),
        ("directory/instrument/%00", "", 422),
        ("directory/instrument/%FF", "", 200),  # not UTF-8: read as the framework reads it
        ("directory/instrument/a", "Bearer nonsense", 401),
        ("directory/instrument/a", "Basic abc", 401),
    ],
)
def test_what_is_not_plain_is_left_to_the_long_way(
    auditor: NodeClient, key: str, authorization: str, status: int
) -> None:
    headers = {"Authorization": authorization} if authorization else {}
    path = f"{PATH}?key={key}"
    if status == 200:
        assert auditor.request("GET", path).json()["value"] is None
        return
    with pytest.raises(ApiProblem) as problem:
        auditor.request("GET", path, headers=headers, authenticated=not authorization)
    assert problem.value.status == status


# --- to whom ----------------------------------------------------------------------------------------


def test_a_key_that_the_ledger_does_not_know_learns_no_state(cluster: Cluster) -> None:
    answer = ask(cluster, token_of(cluster, SoftwareSigner.generate()))
    assert (answer.status_code, answer.json()["code"]) == (403, "key_not_enrolled")


def refused_after(
    cluster: Cluster, token: str, profile: str, kind: str, body: dict[str, Value]
) -> str:
    """Ask with one token before an operation and after it; return the code of the refusal."""
    assert ask(cluster, token).status_code == 200
    result = cluster.submit(NODE, profile, (kind, body))
    assert (result.status, result.code) == ("committed", ""), result
    answer = ask(cluster, token)
    assert answer.status_code == 403
    code = answer.json()["code"]
    assert isinstance(code, str)
    return code


def test_a_token_that_was_good_is_refused_once_its_key_is_revoked(cluster: Cluster) -> None:
    key = cluster.key("tianjin-operator")
    body: dict[str, Value] = {"key": str(key.public_key)}
    token = token_of(cluster, key)
    code = refused_after(cluster, token, "tianjin-operator", "ledger.key.revoke", body)
    assert code == "key_not_enrolled"


def test_a_token_that_was_good_is_refused_once_its_organisation_is_dissolved(
    cluster: Cluster,
) -> None:
    token = token_of(cluster, cluster.key("hebei-operator"))
    body: dict[str, Value] = {"uscc": HEBEI_CENTRE}
    code = refused_after(cluster, token, "hebei-registrar", "ledger.organisation.dissolve", body)
    assert code == "organisation_not_active"
