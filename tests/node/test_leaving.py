"""A validator that is removed, and a member whose authority is revoked, on a running network of five."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cli import sample
from ledger.codec import Value
from ledger.commits import verify_commit
from ledger.suite import SHA256_ED25519 as SUITE
from tests.node.cluster import Cluster, eventually

LEAVING = "hebei"


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Cluster(tmp_path / "home", validators=(*sample.VALIDATORS, "xiongan")) as cluster:
        yield cluster


def remove(cluster: Cluster) -> int:
    """Take the validator out of the set; return the height that decided it."""
    body: dict[str, Value] = {"action": "remove", "name": LEAVING}
    proposed = cluster.submit("beijing", "beijing-governor", ("ledger.validator.propose", body))
    height = 0
    for governor in ("national-governor", "tianjin-governor", "xiongan-governor"):
        operation = ("ledger.validator.approve", {"proposal": f"{proposed.id}-0"})
        result = cluster.submit("beijing", governor, operation)
        assert result.status == "committed", result
        assert result.height is not None
        height = result.height
    return height


def linked(cluster: Cluster, name: str) -> list[str]:
    return [
        other
        for other, node in cluster.nodes.items()
        if other != name and name in node._network.links
    ]


@pytest.mark.row("revoked member")
def test_a_removed_validator_decides_nothing_from_two_heights_on_and_a_revoked_one_is_cut_off(
    cluster: Cluster,
) -> None:
    assert cluster.publish().status == "committed"
    changed = remove(cluster)
    for _ in range(5):
        newest = cluster.publish().height
    assert newest is not None
    assert newest >= changed + 5
    chain_id = cluster.network.chain_id
    for name in cluster.names:
        application = cluster.nodes[name]._application
        eventually(lambda one=application: one.tip.height >= newest)  # type: ignore[misc]
        history = application.history
        for height in range(1, newest + 1):
            validators, commit = history.validators(height), history.commit(height)
            assert commit is not None
            verify_commit(SUITE, chain_id, validators, commit)
            assert (LEAVING in validators) == (height < changed + 2)
            assert LEAVING not in dict(commit.signatures) or height < changed + 2
    eventually(lambda: len(linked(cluster, LEAVING)) == 4)  # it follows, as any node of a member

    revocation = ("ledger.certificate_authority.revoke", {"name": f"{LEAVING}-ca"})
    result = cluster.submit("beijing", f"{LEAVING}-governor", revocation)
    assert result.status == "committed", result
    eventually(lambda: linked(cluster, LEAVING) == [])
    last = max(node._application.tip.height for node in cluster.nodes.values())
    for _ in range(3):
        assert cluster.publish().status == "committed"
    assert linked(cluster, LEAVING) == []
    assert cluster.nodes[LEAVING]._application.tip.height <= last
    assert cluster.nodes["beijing"]._application.tip.height > last
