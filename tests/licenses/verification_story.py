"""Questions to the verifier about a story's licenses, for tests of its verdicts."""

from __future__ import annotations

from typing import Any

from ledger.suite import SHA256_ED25519 as SUITE
from licenses.verdicts import Outcome, Report
from licenses.verification import Question
from licenses.verifier import Verifier
from tests.licenses.story import ISSUER, Holder, Story, key_of

BY = key_of(ISSUER, "issuer")


def credential_of(person: Holder) -> str:
    return str(person.issued.credential.sd_jwt)


def ask(story: Story, **options: Any) -> Report:
    """Verify under the chain's own policy, now, unless told otherwise."""
    policy = options.pop("policy", None) or story.chain.policy()
    bundle, credential = options.pop("bundle", None), options.pop("credential", None)
    question = Question(now_ms=options.pop("now_ms", story.chain.time_ms), **options)
    return Verifier(SUITE, policy).verify(question, credential=credential, bundle=bundle)


def check_license(story: Story, person: Holder, **options: Any) -> Report:
    bundle = story.license_bundle(person.handle)
    return ask(story, credential=credential_of(person), bundle=bundle, **options)


def outcomes(report: Report, outcome: Outcome) -> dict[str, str]:
    return {each.check: each.code for each in report.verdicts if each.outcome is outcome}
