"""The HTTP API over a whole network in one process: what it answers, to whom, and what it refuses."""

from __future__ import annotations

import base64
import json
import os
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from cli.demo.content import ISSUER, LICENSE_TYPE
from ledger import bundle
from ledger.bundle import Bundle
from ledger.codec import Value
from ledger.keys import SealingKey, SoftwareSigner, seal
from ledger.light import TrustedView
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from licenses.handles import SALT_BYTES, holder_commitment
from node.answers import Page
from node.api.evidence import MAX_KEYS_AT_ONCE
from node.api.paging import encode_cursor
from node.auth import make_token
from node.client import NodeClient
from node.errors import ApiProblem
from tests.node.cluster import Cluster, eventually

TONGZHOU = "11110112MB1D52349B"


def rule(name: str) -> dict[str, Value]:
    return {
        "id": f"{TONGZHOU}-{name}",
        "kind": "rule",
        "name": f"Rules on {name}",
        "issuer": "Tongzhou",
        "in_force_from_ms": 1_600_000_000_000,
        "articles": ("1", "2"),
        "digest": bytes(32),
    }


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with Cluster(tmp_path_factory.mktemp("cluster") / "home") as cluster:
        for name in ("windows", "archives", "seals"):
            result = cluster.submit(
                "beijing", "tongzhou-editor", ("directory.instrument.publish", rule(name))
            )
            assert result.status == "committed", result
        yield cluster


@pytest.fixture(scope="module")
def auditor(cluster: Cluster) -> Iterator[NodeClient]:
    with cluster.client("xiongan", "national-auditor") as client:
        yield client


@pytest.fixture(scope="module")
def stranger(cluster: Cluster) -> Iterator[NodeClient]:
    with cluster.client("xiongan") as client:
        yield client


def refused(client: NodeClient, method: str, path: str, **options: Any) -> ApiProblem:
    with pytest.raises(ApiProblem) as problem:
        client.request(method, path, **options)
    return problem.value


# --- access -----------------------------------------------------------------------------------------

PUBLIC = ("/healthz", "/readyz", "/metrics", "/checkpoint", "/tile/0/000.p/1", "/v1/network")
MEMBERS_ONLY = (
    "/v1/organisations",
    f"/v1/organisations/{TONGZHOU}",
    "/v1/directory/instrument",
    f"/v1/directory/instrument/{TONGZHOU}-windows",
    f"/v1/directory/instrument/{TONGZHOU}-windows/trace",
    "/v1/directory/check",
    "/v1/blocks",
    "/v1/blocks/1",
    f"/v1/transactions/{'0' * 64}",
    "/v1/licenses?prefix=ab",
    f"/v1/licenses/{'0' * 64}",
    f"/v1/uses/{'0' * 64}",
    f"/v1/state?key=ledger/organisation/{TONGZHOU}",
    f"/v1/evidence/state?key=ledger/organisation/{TONGZHOU}",
    f"/v1/evidence/transactions/{'0' * 64}",
    f"/v1/evidence/licenses/{'0' * 64}",
    "/v1/wallet/uses",
    "/v1/events",
)


@pytest.mark.parametrize("path", [*PUBLIC, "/v1/policy", "/v1/genesis", "/v1/openapi.json"])
def test_what_is_public_needs_no_token(stranger: NodeClient, path: str) -> None:
    assert stranger.request("GET", path).status_code == 200


@pytest.mark.parametrize("path", MEMBERS_ONLY)
def test_everything_else_needs_one(stranger: NodeClient, path: str) -> None:
    problem = refused(stranger, "GET", path)
    assert (problem.status, problem.code) == (401, "token_missing")


def test_a_key_that_the_ledger_does_not_know_is_refused(cluster: Cluster) -> None:
    url = cluster.network.node("xiongan").api
    with NodeClient(url, signer=SoftwareSigner.generate()) as client:
        assert refused(client, "GET", "/v1/blocks").code == "key_not_enrolled"


def test_a_token_for_another_chain_or_long_expired_is_refused(cluster: Cluster) -> None:
    key = cluster.key("national-auditor")
    url = cluster.network.node("xiongan").api
    now_s = int(time.time())
    for chain, issued in (("another-chain", now_s), (cluster.network.chain_id, now_s - 3_600)):
        headers = {"Authorization": f"Bearer {make_token(key, chain, issued)}"}
        answer = httpx.get(f"{url}/v1/blocks", headers=headers, trust_env=False)
        assert answer.status_code == 401
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.json()["code"] == "token_invalid"


def test_entries_are_for_auditors_and_readers_only(cluster: Cluster, auditor: NodeClient) -> None:
    assert auditor.tile("tile/entries/000.p/1")
    with cluster.client("xiongan", "tongzhou-editor") as editor:
        assert refused(editor, "GET", "/tile/entries/000.p/1").status == 403


# --- answers ----------------------------------------------------------------------------------------


def test_entries_are_listed_searched_filtered_and_paged(auditor: NodeClient) -> None:
    names = [f"{TONGZHOU}-{name}" for name in ("archives", "seals", "windows")]
    everything = auditor.directory("instrument", owner=TONGZHOU)
    assert [entry["id"] for entry in everything.items] == names
    assert everything.cursor is None
    first = auditor.directory("instrument", limit=2)
    second = auditor.directory("instrument", limit=2, cursor=first.cursor)
    assert [entry["id"] for entry in (*first.items, *second.items)] == names
    [found] = auditor.directory("instrument", text="ON SEALS").items
    assert (found["title"], found["status"]) == ("Rules on seals", "pending")
    assert auditor.directory("instrument", status="effective").items == ()
    assert auditor.directory("instrument", text="100%_").items == ()


def test_organisations_are_listed_and_shown(auditor: NodeClient) -> None:
    one = auditor.organisation(TONGZHOU)
    assert one["division"] == "110112"
    assert one in auditor.organisations(limit=500).items


def test_a_state_value_and_an_absence_are_proved(cluster: Cluster, auditor: NodeClient) -> None:
    policy = Policy.parse(SUITE, auditor.policy().encode())
    for key, there in (
        (f"ledger/organisation/{TONGZHOU}", True),
        (f"directory/instrument/{TONGZHOU}-never", False),
    ):
        bundle = Bundle.decode(SUITE, auditor.state_evidence(key))
        state = TrustedView(SUITE, policy).verify_bundle(bundle).state(key)
        assert state is not None
        assert (state.value is not None) == there
        assert (auditor.state(key)["value"] is not None) == there


def test_several_states_come_in_one_bundle(cluster: Cluster, auditor: NodeClient) -> None:
    policy = Policy.parse(SUITE, (cluster.network.directory / "policy.txt").read_bytes())
    keys = [f"directory/instrument/{TONGZHOU}-{name}" for name in ("seals", "none", "windows")]
    content = auditor.request("GET", "/v1/evidence/state", params={"key": [*keys, keys[0]]}).content
    bundle = TrustedView(SUITE, policy).verify_bundle(Bundle.decode(SUITE, content))
    assert [(state.key, state.value is None) for state in bundle.states] == [
        (keys[0], False),
        (keys[1], True),
        (keys[2], False),
    ]
    assert {state.height for state in bundle.states} == {bundle.states[0].height}


def test_more_states_than_fit_one_bundle_are_refused(auditor: NodeClient) -> None:
    keys = [f"directory/instrument/{number}" for number in range(MAX_KEYS_AT_ONCE + 1)]
    problem = refused(auditor, "GET", "/v1/evidence/state", params={"key": keys})
    assert (problem.status, problem.code) == (422, "invalid_input")


def test_states_too_long_for_one_bundle_are_refused_and_fewer_are_not(
    auditor: NodeClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys = [f"directory/instrument/{TONGZHOU}-{name}" for name in ("seals", "windows", "archives")]
    size = len(auditor.state_evidence(keys[0]))
    monkeypatch.setattr(bundle, "MAX_BUNDLE_BYTES", size + 200)
    problem = refused(auditor, "GET", "/v1/evidence/state", params={"key": keys})
    assert (problem.status, problem.code) == (413, "bundle_too_large")
    assert "fewer keys" in problem.detail
    assert len(auditor.state_evidence(keys[0])) <= size + 200


def test_blocks_are_listed_newest_first(auditor: NodeClient) -> None:
    page = auditor.blocks(limit=2)
    heights = [block["height"] for block in page.items]
    assert heights == sorted(heights, reverse=True)
    block = auditor.block(heights[0])
    assert len(block["transactions"]) == block["transaction_count"] == 1
    assert len(block["commit"]["validators"]) >= 3
    older = auditor.blocks(limit=2, cursor=page.cursor)
    assert older.items[0]["height"] == heights[-1] - 1


def test_metrics_tell_height_quorum_and_links(stranger: NodeClient) -> None:
    """All links of a network are up soon after its start."""
    told = ("mulu_quorum 1.0", "mulu_validators_online 4.0", "mulu_links 4.0")

    def all_told() -> bool:
        text = stranger.metrics()
        return all(line in text for line in told)

    eventually(all_told)


# --- bad input --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "/v1/directory/secrets", None, 422),
        ("GET", "/v1/directory/instrument?limit=501", None, 422),
        ("GET", "/v1/directory/instrument?limit=0", None, 422),
        ("GET", "/v1/directory/instrument?cursor=%25%25", None, 422),
        ("GET", "/v1/directory/instrument/%00", None, 404),
        ("GET", "/v1/directory/instrument/x%2F..%2Fy", None, 404),
        ("GET", "/v1/blocks/0", None, 422),
        ("GET", "/v1/blocks/999999", None, 404),
        ("GET", "/v1/transactions/abc", None, 422),
        ("GET", f"/v1/transactions/{'A' * 64}", None, 422),
        ("GET", f"/v1/transactions/{'0' * 64}?wait_s=1e9", None, 422),
        ("GET", "/v1/state?key=../../etc/passwd", None, 422),
        ("GET", "/tile/0/0", None, 404),
        ("GET", "/tile/8/../../x", None, 404),
        ("GET", "/tile/0/x999/999", None, 404),
        ("GET", "/nowhere", None, 404),
        ("DELETE", "/v1/blocks", None, 405),
        ("POST", "/v1/transactions", {}, 422),
        ("POST", "/v1/transactions", {"transactions": []}, 422),
        ("POST", "/v1/transactions", {"transactions": [7]}, 422),
        ("POST", "/v1/transactions", {"transactions": ["AA=="], "timeout_s": 1e9}, 422),
        ("POST", "/v1/transactions", {"transactions": ["AA=="], "surprise": 1}, 422),
        ("POST", "/v1/transactions", {"transactions": ["A" * 90_000]}, 422),
        ("POST", "/v1/sessions", {"sealing_key": "zz"}, 422),
    ],
)
def test_bad_input_is_answered_by_a_problem(
    auditor: NodeClient, method: str, path: str, body: dict[str, Any] | None, status: int
) -> None:
    problem = refused(auditor, method, path, body=body)
    assert problem.status == status
    assert problem.code


def test_an_id_of_another_form_is_refused_in_words(auditor: NodeClient) -> None:
    problem = refused(auditor, "GET", "/v1/licenses/xyz")
    assert problem.detail == "handle: expected 64 hex digits, in lower case"


def test_bodies_beyond_the_bound_are_refused_declared_or_not(cluster: Cluster) -> None:
    url = f"{cluster.network.node('xiongan').api}/v1/transactions"
    large = json.dumps({"transactions": ["A" * 1_500_000]}).encode()

    def chunks() -> Iterator[bytes]:
        for start in range(0, len(large), 65_536):
            yield large[start : start + 65_536]

    for content in (large, chunks()):
        answer = httpx.post(
            url, content=content, headers={"Content-Type": "application/json"}, trust_env=False
        )
        assert answer.status_code == 413
        assert answer.json()["code"] == "body_too_large"


def test_what_is_not_json_is_not_taken_for_it(cluster: Cluster) -> None:
    url = f"{cluster.network.node('xiongan').api}/v1/transactions"
    body = json.dumps({"transactions": [base64.b64encode(b"x").decode()]})
    for content_type in ("text/plain", "application/x-www-form-urlencoded"):
        headers = {"Content-Type": content_type}
        answer = httpx.post(url, content=body, headers=headers, trust_env=False)
        assert answer.status_code == 422
    deep = "[" * 100_000
    headers = {"Content-Type": "application/json"}
    assert httpx.post(url, content=deep, headers=headers, trust_env=False).status_code == 400


def test_a_transaction_of_another_chain_or_an_unknown_signer_is_refused(cluster: Cluster) -> None:
    good = cluster.transaction("tongzhou-editor", ("directory.instrument.publish", rule("x")))
    from ledger.transactions import sign_transaction

    foreign = sign_transaction(
        SUITE,
        cluster.key("tongzhou-editor"),
        "another-" + "0" * 32,
        good.operations,
        valid_until_ms=good.valid_until_ms,
        nonce=os.urandom(16),
    )
    unknown = sign_transaction(
        SUITE,
        SoftwareSigner.generate(),
        cluster.network.chain_id,
        good.operations,
        valid_until_ms=good.valid_until_ms,
        nonce=os.urandom(16),
    )
    wrong_role = cluster.transaction(
        "national-auditor", ("directory.instrument.publish", rule("x"))
    )
    with cluster.client("beijing") as client:
        results = client.submit([foreign.raw, unknown.raw, wrong_role.raw])
    assert [(one.status, one.code) for one in results] == [
        ("refused", "wrong_chain"),
        ("refused", "unknown_signer"),
        ("refused", "role_missing"),
    ]


# --- sessions ---------------------------------------------------------------------------------------


def test_request_consent_and_disclosure_pass_a_session_sealed(cluster: Cluster) -> None:
    wallet_key, window_key = SealingKey.generate(), SealingKey.generate()
    with (
        cluster.client("beijing") as wallet,
        cluster.client("beijing", "tianjin-operator") as window,
    ):
        opened = wallet.open_session(wallet_key.public_key.hex())
        assert opened.code.startswith("1"), "the first digit names the jurisdiction"
        found = window.find_session(opened.code)
        sealed = seal(bytes.fromhex(found.sealing_key), b"request")
        window.put_session_message(found.id, "request", sealed)
        request = wallet.get_session_message(opened.id, "request", wait_s=5, secret=opened.secret)
        assert request is not None
        assert wallet_key.open(request) == b"request"
        assert window.get_session_message(found.id, "consent") is None
        for slot in ("consent", "disclosure"):
            sealed = seal(window_key.public_key, slot.encode())
            wallet.put_session_message(opened.id, slot, sealed, secret=opened.secret)
            answer = window.get_session_message(found.id, slot, wait_s=5)
            assert answer is not None
            assert window_key.open(answer) == slot.encode()


def test_a_session_is_closed_to_everybody_else(cluster: Cluster) -> None:
    key = SealingKey.generate().public_key.hex()
    with (
        cluster.client("tianjin") as wallet,
        cluster.client("tianjin", "tianjin-operator") as window,
        cluster.client("tianjin", "hebei-operator") as other,
        cluster.client("tianjin", "national-auditor") as auditor,
    ):
        opened = wallet.open_session(key)
        assert (
            refused(wallet, "POST", "/v1/sessions/find", body={"code": opened.code}).status == 401
        )
        assert (
            refused(auditor, "POST", "/v1/sessions/find", body={"code": opened.code}).code
            == "role_missing"
        )
        found = window.find_session(opened.code)
        again = refused(other, "POST", "/v1/sessions/find", body={"code": opened.code})
        assert again.code == "session.refused"
        path = f"/v1/sessions/{found.id}"
        body = {"payload": base64.b64encode(b"x").decode()}
        assert refused(other, "POST", f"{path}/request", body=body).code == "session.refused"
        wrong = {"Session-Secret": "0" * 32}
        assert refused(wallet, "GET", f"{path}/request", headers=wrong).code == "session.refused"
        unknown = refused(wallet, "GET", f"/v1/sessions/{'0' * 32}/request", headers=wrong)
        assert unknown.code == "session.refused"


def test_wrong_codes_are_limited_for_an_operator(cluster: Cluster) -> None:
    with cluster.client("hebei", "hebei-operator") as window:
        codes = [
            refused(window, "POST", "/v1/sessions/find", body={"code": f"3000000{n}"}).code
            for n in range(7)
        ]
    assert codes == ["session.refused"] * 5 + ["session.limited"] * 2


def test_a_wallet_must_prove_to_be_the_holder(cluster: Cluster, stranger: NodeClient) -> None:
    token = make_token(
        SoftwareSigner.generate(),
        cluster.network.chain_id,
        int(time.time()),
        claims={"handle": "ab" * 32, "salt": "cd" * 32},
    )
    with pytest.raises(ApiProblem) as problem:
        stranger.wallet_uses(token)
    assert problem.value.code == "not_the_holder"


@pytest.mark.parametrize("value", [None, "", "xyz", "ab" * 31, "ab" * 33, "ab" * 200, 7, ["ab"]])
@pytest.mark.parametrize("name", ["handle", "salt"])
def test_a_holders_token_with_a_malformed_claim_is_refused(
    cluster: Cluster, stranger: NodeClient, name: str, value: object
) -> None:
    claims = {"handle": "ab" * 32, "salt": "cd" * 32, name: value}
    token = make_token(
        SoftwareSigner.generate(), cluster.network.chain_id, int(time.time()), claims=claims
    )
    with pytest.raises(ApiProblem) as problem:
        stranger.wallet_uses(token)
    assert (problem.value.status, problem.value.code) == (401, "token_invalid")


def record_license(cluster: Cluster, handle: bytes, holder: bytes) -> None:
    """Record a license bound to a holder's key, by commitment; once for a cluster."""
    issuer = cluster.key("beijing-issuer")
    now_ms = time.time_ns() // 1_000_000
    definition: dict[str, Value] = {
        "type": LICENSE_TYPE,
        "name": "Permit",
        "holder_kind": "person",
        "fields": ({"name": "holder_name", "title": "Name"},),
    }
    accreditation: dict[str, Value] = {
        "type": LICENSE_TYPE,
        "issuer": ISSUER.uscc,
        "valid_from_ms": now_ms - 1_000_000,
    }
    license: dict[str, Value] = {
        "license": handle,
        "type": LICENSE_TYPE,
        "credential": bytes(32),
        "credential_key": str(issuer.public_key),
        "holder": holder,
        "valid_from_ms": now_ms,
    }
    for profile, kind, body in (
        ("residence-ministry", "licenses.type.define", definition),
        ("residence-ministry", "licenses.issuer.accredit", accreditation),
        ("beijing-issuer", "licenses.license.issue", license),
    ):
        result = cluster.submit("xiongan", profile, (kind, body))
        assert result.status == "committed", result


def test_what_a_wallet_fetches_is_for_the_holder_of_that_license(
    cluster: Cluster, stranger: NodeClient
) -> None:
    handle, salt, holder = os.urandom(32), os.urandom(SALT_BYTES), SoftwareSigner.generate()
    record_license(cluster, handle, holder_commitment(SUITE, salt, holder.public_key))

    def token(signer: SoftwareSigner, salt: bytes) -> str:
        claims = {"handle": handle.hex(), "salt": salt.hex()}
        return make_token(signer, cluster.network.chain_id, int(time.time()), claims=claims)

    assert stranger.wallet_uses(token(holder, salt)) == Page((), None)
    for other in (
        token(SoftwareSigner.generate(), salt),
        token(cluster.key("national-auditor"), salt),
        token(holder, os.urandom(SALT_BYTES)),
    ):
        with pytest.raises(ApiProblem) as problem:
            stranger.wallet_uses(other)
        assert problem.value.code == "not_the_holder"
    with pytest.raises(ApiProblem, check=lambda error: error.code == "token_invalid"):
        stranger.wallet_uses(token(holder, salt[:-1]))
    for cursor in ("!", encode_cursor("x"), encode_cursor("9" * 30)):
        with pytest.raises(ApiProblem, check=lambda error: error.code == "invalid_cursor"):
            stranger.wallet_uses(token(holder, salt), cursor=cursor)


# --- events -----------------------------------------------------------------------------------------


def test_events_come_as_they_are_proven_and_can_be_filtered(
    cluster: Cluster, auditor: NodeClient
) -> None:
    before = auditor.network().checkpoint_size
    result = cluster.submit(
        "national", "tongzhou-editor", ("directory.instrument.publish", rule("events"))
    )
    assert result.index is not None
    index = result.index
    eventually(lambda: auditor.network().checkpoint_size > index)
    kinds = ("directory.instrument.publish",)
    event = next(iter(auditor.events(after=before - 1, kinds=kinds)))
    assert (event.index, event.kind, event.data["id"]) == (result.index, "transaction", result.id)
    assert event.data["operations"][0]["body"]["id"] == f"{TONGZHOU}-events"
    block = next(iter(auditor.events(after=before - 1, kinds=("block",))))
    assert block.kind == "block"


def test_resuming_beyond_the_log_is_refused(auditor: NodeClient) -> None:
    with pytest.raises(ApiProblem):
        next(iter(auditor.events(after=10**9)))
