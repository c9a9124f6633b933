"""Go's own sumdb client reads the log of a running node over HTTP: `/checkpoint` and the hash tiles."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from ledger.codec import Value
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from tests.go.stock_client import build_stock_client, run_stock_client, verified_by_stock_client
from tests.node.cluster import Cluster, eventually

ENTRIES = 300  # more than one full tile of 256 hashes


def article(number: int) -> tuple[str, dict[str, Value]]:
    owner = "11110112MB1D52349B"
    return (
        "directory.instrument.publish",
        {
            "id": f"{owner}-rule-{number}",
            "kind": "rule",
            "name": f"Rule {number}",
            "issuer": "Tongzhou",
            "in_force_from_ms": 1_600_000_000_000,
            "articles": ("1",),
            "digest": bytes(32),
        },
    )


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stock_client(tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="module")
def cluster(program: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster") / "home") as cluster:
        yield cluster


def test_a_stock_client_follows_a_node_from_one_checkpoint_to_a_later_one(
    cluster: Cluster, program: Path, tmp_path: Path
) -> None:
    url = cluster.network.node("xiongan").api
    policy = Policy.parse(SUITE, (cluster.network.directory / "policy.txt").read_bytes())
    keys = [str(log.key) for log in policy.logs]
    old = tmp_path / "old-checkpoint"
    old.write_bytes(httpx.get(f"{url}/checkpoint", timeout=10).content)

    with cluster.client("beijing") as beijing:
        sent = [cluster.transaction("tongzhou-editor", article(n)) for n in range(ENTRIES)]
        results = beijing.submit([one.raw for one in sent], timeout_s=60)
    assert {result.status for result in results} == {"committed"}

    def size() -> int:
        return int(httpx.get(f"{url}/checkpoint", timeout=10).text.split("\n")[1])

    eventually(lambda: size() > ENTRIES)
    entries = []
    with cluster.client("xiongan", "national-auditor") as auditor:
        for result in (results[0], results[-1]):
            view = auditor.transaction(result.id, wait_s=30)
            assert view.entry is not None and view.index is not None
            path = tmp_path / f"entry-{view.index}"
            path.write_bytes(view.entry)
            entries.append((view.index, path))
    report = verified_by_stock_client(
        program, url, keys, old_checkpoint=old, entries=entries, limit=ENTRIES
    )
    assert report

    index, path = entries[0]
    path.write_bytes(path.read_bytes() + b"\0")
    refused = run_stock_client(program, url, keys, entries=[(index, path)])
    assert refused.returncode != 0, "an entry that is not the log's was verified"
