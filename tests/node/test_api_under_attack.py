"""The HTTP API against clients that keep it waiting, open too much, or come over TLS. One real network."""

from __future__ import annotations

import datetime
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from node.api import server
from node.certificates import create_certificate_authority, issue_node_certificate
from node.client import NodeClient
from node.config import format_config, load_config
from node.errors import ApiProblem, NodeUnreachable
from tests.node.cluster import Cluster, eventually

SECURED = "xiongan"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster") / "home") as cluster:
        yield cluster


def address_of(cluster: Cluster, name: str = "beijing") -> tuple[str, int]:
    url = httpx.URL(cluster.network.node(name).api)
    assert url.port is not None
    return url.host, url.port


def ends(connection: socket.socket, timeout_s: float = 10.0) -> bool:
    connection.settimeout(timeout_s)
    try:
        while connection.recv(4096):
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
    monkeypatch.setattr(server, "REQUEST_S", 0.3)
    monkeypatch.setattr(server, "KEEP_ALIVE_S", 0.3)
    monkeypatch.setattr(server._Connection._watch, "__defaults__", (0.3,))
    with socket.create_connection(address_of(cluster)) as slow:
        slow.sendall(beginning)
        assert ends(slow)


def test_connections_beyond_the_bound_are_closed_and_room_comes_back(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "MAX_CONNECTIONS", 40)
    opened = [socket.create_connection(address_of(cluster)) for _ in range(120)]
    try:
        assert sum(ends(one, 0.05) for one in opened) >= 80
    finally:
        for one in opened:
            one.close()
    with cluster.client("beijing") as client:
        eventually(client.healthy)


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
    config = load_config(home / "config.toml")
    api = config.api.model_copy(
        update={"tls_certificate": "keys/api.crt", "tls_key": "keys/api.pem"}
    )
    cluster.stop(SECURED)
    (home / "config.toml").write_text(format_config(config.model_copy(update={"api": api})))
    cluster.start(SECURED)
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
