"""The examples in docs/FORMATS.md are real: they parse, they verify, and this code writes the same bytes."""

from __future__ import annotations

import re
from pathlib import Path

from ledger.checkpoints import SignedCheckpoint
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.tlog_proof import TlogProof
from tests.ledger.sample_chain import SampleChain

_PAGE = Path(__file__).parents[2] / "docs" / "FORMATS.md"


def _example(language: str) -> bytes:
    found = re.findall(rf"^```{language}\n(.*?)^```$", _PAGE.read_text("utf-8"), re.M | re.S)
    assert len(found) == 1, language
    return found[0].encode()


def test_the_examples_are_of_one_log_and_verify_under_its_policy() -> None:
    chain = SampleChain()
    chain.commit({"licenses/license/00ff": ["valid"]}, transactions=[b"example"])
    policy = Policy.parse(SUITE, _example("policy"))
    assert policy == chain.policy()
    assert policy.encode() == _example("policy")
    signed = SignedCheckpoint.parse(_example("checkpoint"))
    assert signed == chain.checkpoint()
    assert policy.check(SUITE, signed).satisfied
    proof = TlogProof.parse(_example("tlog-proof"))
    assert proof.encode() == _example("tlog-proof")
    assert proof.verify(SUITE, policy, chain.entries[1]).satisfied
