"""The HTTP API against clients that keep it waiting, open too much, or come over TLS. One real network."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from starlette.types import Message

from node.api import connection, events
from node.api.access import Caller
from node.certificates import create_certificate_authority, issue_node_certificate
from node.client import NodeClient
from node.config import format_config, load_config
from node.errors import ApiProblem, NodeUnreachable
from tests.node.cluster import Cluster, eventually

SECURED = "xiongan"
ESTABLISHED = 1
"""The state of a TCP connection that nobody has ended, in Linux' `tcp_info`."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster") / "home") as cluster:
        yield cluster


def address_of(cluster: Cluster, name: str = "beijing") -> tuple[str, int]:
    url = httpx.URL(cluster.network.node(name).api)
    assert url.port is not None
    return url.host, url.port


def ends(client: socket.socket, timeout_s: float = 10.0) -> bool:
    client.settimeout(timeout_s)
    try:
        while client.recv(4096):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.parametrize(
    "beginning",
    [
        b"",
        b"GET /healthz HTT",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
        b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{",
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\nGET /healthz HT",
    ],
)
def test_a_request_that_never_ends_is_cut(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch, beginning: bytes
) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", 0.3)
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(connection.HttpConnection._watch, "__defaults__", (0.3,))
    with socket.create_connection(address_of(cluster)) as slow:
        slow.sendall(beginning)
        assert ends(slow)


def test_connections_beyond_the_bound_are_closed_and_room_comes_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_CONNECTIONS", 40)
    opened = [socket.create_connection(address_of(cluster)) for _ in range(120)]
    try:
        assert sum(ends(one, 0.05) for one in opened) >= 80
    finally:
        for one in opened:
            one.close()
    with cluster.client("beijing") as client:
        eventually(client.healthy)


def test_one_address_does_not_take_all_connections(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "MAX_PER_ADDRESS", 30)
    host, port = address_of(cluster)
    opened = [socket.create_connection((host, port)) for _ in range(60)]
    try:
        assert sum(ends(one, 0.05) for one in opened) >= 30
        with socket.create_connection((host, port), source_address=("127.0.0.2", 0)) as other:
            other.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert received_until(other, b"HTTP/1.1").startswith(b"HTTP/1.1 200")
    finally:
        for one in opened:
            one.close()


def test_who_asks_and_does_not_read_is_cut(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WRITE_S", 0.3)
    with socket.socket() as greedy:
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect(address_of(cluster))
        greedy.setblocking(False)
        request = b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"

        def is_cut() -> bool:
            with suppress(BlockingIOError):
                greedy.send(request)  # no more at once than may wait
            time.sleep(0.02)
            return greedy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] != ESTABLISHED

        with suppress(ConnectionError):
            eventually(is_cut)


def test_who_reads_slowly_but_goes_on_is_not_cut(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "WRITE_S", 0.3)
    monkeypatch.setattr(connection, "MIN_READ_BYTES", 4096)
    with socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        slow.connect(address_of(cluster))
        slow.setblocking(False)
        for _ in range(100):
            with suppress(BlockingIOError):
                slow.send(b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n")
            with suppress(BlockingIOError):
                assert slow.recv(65_536)
            time.sleep(0.02)
        assert slow.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] == ESTABLISHED


@pytest.mark.parametrize("more", [0, 1, 3])
def test_a_stream_ends_with_its_connection_whatever_else_was_asked_for(
    cluster: Cluster, more: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.1)  # where reading pauses, writing finds the end
    streams = cluster.nodes["beijing"]._services.open_streams
    with cluster.client("beijing", "national-auditor") as auditor:
        (token,) = auditor._credentials.headers(auditor._learn_chain_id).values()
    with socket.create_connection(address_of(cluster)) as client:
        client.sendall(
            b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: " + token.encode() + b"\r\n\r\n"
        )
        assert received_until(client, b"HTTP/1.1 200")
        eventually(lambda: streams.total() == 1)
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * more)
        time.sleep(0.1)
    eventually(lambda: streams.total() == 0)


def test_streams_count_from_when_they_are_admitted(cluster: Cluster) -> None:
    services = cluster.nodes["beijing"]._services
    caller = Caller("ed25519:" + "11" * 32, "11110000MB2A3XQ17T", frozenset())
    share = services.config.api.max_event_streams // 4

    async def gone() -> Message:
        return {"type": "http.disconnect"}

    async def dropped(_: Message) -> None:
        pass

    async def ask() -> None:
        admitted = [await events.events(services, caller) for _ in range(share)]
        with pytest.raises(ApiProblem, match="too many event streams"):
            await events.events(services, caller)
        for response in admitted:
            await response({"type": "http", "asgi": {"spec_version": "2.0"}}, gone, dropped)
        assert services.open_streams[caller.organisation] == 0

    asyncio.run(ask())


def test_the_address_of_a_client_is_told_by_trusted_proxies_only(cluster: Cluster) -> None:
    def addresses() -> set[str]:
        answer = httpx.post(
            f"{cluster.network.node(SECURED).api}/v1/sessions",
            json={"sealing_key": "11" * 32},
            headers={"X-Forwarded-For": "10.0.0.7"},
            trust_env=False,
        )
        assert answer.status_code == 201
        return set(cluster.nodes[SECURED]._services.sessions._opened)

    assert "10.0.0.7" not in addresses()
    restart_with(cluster, trusted_proxies=("127.0.0.1",))
    assert "10.0.0.7" in addresses()


def restart_with(cluster: Cluster, **api: object) -> None:
    """Start a node again with other settings of its API, and wait until it listens."""
    path = home_of(cluster, SECURED) / "config.toml"
    config = load_config(path)
    changed = config.model_copy(update={"api": config.api.model_copy(update=api)})
    cluster.stop(SECURED)
    path.write_text(format_config(changed))
    cluster.start(SECURED)

    def listens() -> bool:
        with suppress(OSError), socket.create_connection(address_of(cluster, SECURED)):
            return True
        return False

    eventually(listens)


@pytest.mark.parametrize(
    "headers",
    [
        b"".join(b"X-%d: y\r\n" % number for number in range(20_000)),
        b"X-Long: " + b"y" * 1_000_000 + b"\r\n",
        b"Authorization: Bearer " + b"a." * 30_000 + b"\r\n",
    ],
    ids=("many", "long", "token"),
)
def test_a_flood_of_headers_is_refused(cluster: Cluster, headers: bytes) -> None:
    with socket.create_connection(address_of(cluster)) as flood:
        try:
            flood.sendall(b"GET /v1/blocks HTTP/1.1\r\nHost: x\r\n" + headers + b"\r\n")
            answer = flood.recv(100)
        except OSError:
            answer = b""
    assert answer == b"" or answer.startswith((b"HTTP/1.1 400", b"HTTP/1.1 401"))


CHUNKED = (
    b"POST /v1/transactions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n"
)


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: ", b"y" * 1_000),
        (b"GET /", b"y" * 1_000),
        (CHUNKED + b"2\r\n[]\r\n0\r\n", b"X-Trailer: y\r\n" * 64),
        (CHUNKED + b"1;x=", b"y" * 1_000),
    ],
    ids=("header", "path", "trailers", "chunk"),
)
def test_what_is_not_the_body_of_a_request_is_bounded(
    cluster: Cluster, beginning: bytes, piece: bytes
) -> None:
    sent = 0
    with socket.create_connection(address_of(cluster)) as endless:
        endless.settimeout(5)
        with suppress(ConnectionError):
            endless.sendall(beginning)
            while sent < 16 * connection.MAX_HEAD_BYTES:
                endless.sendall(piece)
                sent += len(piece)
                time.sleep(0.001)
        assert sent < 8 * connection.MAX_HEAD_BYTES  # and what the kernel took in besides


def test_a_body_in_many_chunks_is_read(cluster: Cluster) -> None:
    with socket.create_connection(address_of(cluster)) as client:
        client.sendall(CHUNKED + b"".join(b"400\r\n" + b" " * 1024 + b"\r\n" for _ in range(900)))
        client.sendall(b"2\r\n[]\r\n0\r\n\r\n")
        client.settimeout(10)
        assert client.recv(4096).startswith(b"HTTP/1.1 4")  # of the content, which is no request's
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"HTTP/1.1 200" in received_until(client, b"HTTP/1.1 200")


def received_until(client: socket.socket, wanted: bytes, times: int = 1) -> bytes:
    """Return what has come once `wanted` has come that often, or when the connection ends."""
    client.settimeout(10)
    data = b""
    while data.count(wanted) < times:
        part = client.recv(65_536)
        if not part:
            break
        data += part
    return data


def test_a_few_requests_at_once_are_answered_in_order_and_many_are_not(cluster: Cluster) -> None:
    few = connection.MAX_WAITING_REQUESTS
    with socket.create_connection(address_of(cluster)) as client:
        paths = [b"/healthz", b"/nowhere"] * (few // 2)
        client.sendall(b"".join(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % path for path in paths))
        data = received_until(client, b"HTTP/1.1 ", few)
        statuses = re.findall(rb"HTTP/1.1 (\d+)", data)
        assert statuses == [b"200", b"404"] * (few // 2)
    with socket.create_connection(address_of(cluster)) as flood:
        with suppress(ConnectionError):
            flood.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 5_000)
        assert ends(flood)


def test_a_stream_that_was_asked_for_together_with_another_request_goes_on(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "REQUEST_S", 0.2)
    monkeypatch.setattr(connection, "KEEP_ALIVE_S", 0.2)
    monkeypatch.setattr(events, "KEEP_ALIVE_S", 0.1)
    with cluster.client("beijing", "national-auditor") as auditor:
        (token,) = auditor._credentials.headers(auditor._learn_chain_id).values()
    with socket.create_connection(address_of(cluster)) as client:
        client.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
            b"GET /v1/events HTTP/1.1\r\nHost: x\r\nAuthorization: " + token.encode() + b"\r\n\r\n"
        )
        assert received_until(client, b"HTTP/1.1 200", 2).count(b"HTTP/1.1 200") == 2
        # For two seconds and more: five times as long as a request may take.
        assert all(client.recv(4096) for _ in range(20))


def test_garbage_after_a_request_is_never_answered_in_its_place(cluster: Cluster) -> None:
    with socket.create_connection(address_of(cluster)) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n\x00garbage\r\n\r\n")
        with suppress(ConnectionError):
            assert not received_until(client, b"HTTP/1.1 4")[:12].endswith(b"400")


def test_a_body_whose_chunks_are_none_is_refused(cluster: Cluster) -> None:
    with socket.create_connection(address_of(cluster)) as client:
        client.sendall(CHUNKED)
        time.sleep(0.1)
        client.sendall(b"not a length\r\n")
        assert received_until(client, b"HTTP/1.1").startswith(b"HTTP/1.1 400")
        assert ends(client)


def test_an_upgrade_that_is_not_taken_leaves_the_connection_usable(cluster: Cluster) -> None:
    with socket.create_connection(address_of(cluster)) as client:
        for more in (b"Connection: Upgrade\r\nUpgrade: h2c\r\n", b"", b""):
            client.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n" + more + b"\r\n")
            assert received_until(client, b"HTTP/1.1").startswith(b"HTTP/1.1 200")


def test_a_websocket_upgrade_is_not_taken(cluster: Cluster) -> None:
    headers = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    url = cluster.network.node("beijing").api
    answer = httpx.get(f"{url}/healthz", headers=headers, trust_env=False)
    assert answer.status_code == 200


def test_one_organisation_cannot_take_all_event_streams(cluster: Cluster) -> None:
    url = cluster.network.node("beijing").api
    most = load_config(home_of(cluster, "beijing") / "config.toml").api.max_event_streams
    with (
        cluster.client("beijing", "tongzhou-editor") as greedy,
        cluster.client("beijing", "national-auditor") as other,
        httpx.Client(base_url=url, trust_env=False, timeout=10) as http,
    ):
        token = greedy._credentials.headers(greedy._learn_chain_id)
        streams: list[tuple[httpx.Response, Iterator[bytes]]] = []
        while len(streams) <= most:
            answer = http.send(http.build_request("GET", "/v1/events", headers=token), stream=True)
            if answer.status_code == 503:
                break
            streams.append((answer, answer.iter_raw()))
            next(streams[-1][1])
        assert len(streams) == most // 4
        assert next(iter(other.events(after=-1))).index == 0
        for stream, _ in streams:
            stream.close()
        eventually(lambda: not isinstance(first_event(greedy), ApiProblem))


def first_event(client: NodeClient) -> object:
    try:
        return next(iter(client.events(after=-1)))
    except ApiProblem as problem:
        return problem


def home_of(cluster: Cluster, name: str) -> Path:
    return cluster.network.node_home(cluster.network.node(name))


def test_the_api_over_tls_answers_who_knows_its_authority_and_nobody_else(
    cluster: Cluster, tmp_path: Path
) -> None:
    now = datetime.datetime.fromtimestamp(time.time(), datetime.UTC)
    authority = create_certificate_authority("api-ca", now=now)
    issued = issue_node_certificate(authority, SECURED, hosts=("127.0.0.1", "localhost"), now=now)
    home = home_of(cluster, SECURED)
    (home / "keys" / "api.crt").write_bytes(issued.certificate_pem)
    (home / "keys" / "api.pem").write_bytes(issued.key_pem)
    trusted, foreign = tmp_path / "authority.crt", tmp_path / "foreign.crt"
    trusted.write_bytes(authority.certificate_pem)
    foreign.write_bytes(create_certificate_authority("api-ca", now=now).certificate_pem)
    restart_with(cluster, tls_certificate="keys/api.crt", tls_key="keys/api.pem")
    plain = cluster.network.node(SECURED).api
    url = plain.replace("http:", "https:")
    signer = cluster.key("national-auditor")
    with NodeClient(url, signer=signer, certificate_authority=str(trusted)) as client:
        eventually(lambda: client.ready()[0])
        assert client.network().name == SECURED
        assert client.blocks(limit=1).items is not None
        assert next(iter(client.events(after=-1))).index == 0
        sent = cluster.transaction("national-auditor", ("ledger.key.revoke", {"key": "x"}))
        assert client.submit([sent.raw])[0].status == "refused"
    for wrong in (str(foreign), None):
        with NodeClient(url, certificate_authority=wrong) as client, pytest.raises(NodeUnreachable):
            client.network()
    with NodeClient(plain) as client, pytest.raises(NodeUnreachable):
        client.network()
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
    with pytest.warns(DeprecationWarning):  # that is the point of it
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with socket.create_connection(address_of(cluster, SECURED)) as raw, pytest.raises(OSError):
        old.wrap_socket(raw)
    # Handshakes that never end hold no more descriptors than their bound, and keep nobody out.
    before = len(os.listdir("/proc/self/fd"))
    silent = [socket.create_connection(address_of(cluster, SECURED)) for _ in range(300)]
    with NodeClient(url, certificate_authority=str(trusted)) as client:
        eventually(client.healthy)
    assert len(os.listdir("/proc/self/fd")) - before - len(silent) < 200
    for one in silent:
        one.close()
