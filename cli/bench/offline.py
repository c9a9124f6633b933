"""Offline verification: what `mulu license verify --offline` does in its process, over and over, on every core."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from cli.bench.chain import local_chain
from cli.bench.loads import issue_licenses
from cli.bench.machine import cores, signature_check_us
from cli.bench.network import Progress, temporary_directory
from cli.bench.setting import register_matter
from cli.bench.workers import at_once
from cli.demo import content
from cli.demo.world import StoryError, now_ms
from ledger.bundle import Bundle
from ledger.policy import Policy
from ledger.suite import SHA256_ED25519
from licenses.credentials import present
from licenses.verdicts import ExitCode
from licenses.verification import Question
from licenses.verifier import Verifier
from node.evidence import license_bundle

_NONCE: Final = "bench"
_LICENSES: Final = 64


@dataclass(frozen=True, slots=True)
class Presented:
    """What a verifier holds: presentations, each with its bundle, all under one checkpoint; for how long it verifies,
    in seconds; and whether it keeps one verifier all the time, or makes one each time."""

    policy: bytes
    licenses: tuple[tuple[str, bytes], ...]
    seconds: float
    keeps: bool


@dataclass(frozen=True, slots=True)
class Verified:
    """How many verifications one process did, in which time, and what they cost it."""

    count: int
    seconds: float
    cpu_s: float


def measure_verification(seconds: float, progress: Progress) -> dict[str, Any]:
    """Issue licenses on a chain in this process, and verify their presentations on every core.

    First with a new verifier for each license, as if each came under a checkpoint of its own; then with one that is
    kept, as `mulu audit verify` keeps it for all its bundles.
    """
    with temporary_directory() as directory:
        presented = _present(directory, seconds, progress)
    progress("verifying, each time anew")
    anew = _on_every_core(presented)
    progress("verifying, with a verifier that is kept")
    return {**anew, "verifier_kept": _on_every_core(replace(presented, keeps=True))}


def _on_every_core(presented: Presented) -> dict[str, Any]:
    processes = cores()
    check_us = signature_check_us()
    parts = at_once(verify_repeatedly, [presented] * processes)
    check_us = (check_us + signature_check_us()) / 2
    count = sum(part.count for part in parts)
    per_s = sum(part.count / part.seconds for part in parts)
    text, data = presented.licenses[0]
    # The issuer's signature and the holder's binding; those under the checkpoint.
    signatures = 2
    if not presented.keeps:
        signatures += len(Bundle.decode(SHA256_ED25519, data).checkpoint.signatures)
    return {
        "processes": processes,
        "verifications": count,
        "verifications_per_s": round(per_s, 1),
        "verifications_per_s_and_core": round(per_s / processes, 1),
        "cpu_us_per_verification": round(sum(part.cpu_s for part in parts) / count * 1e6, 1),
        "signatures_per_verification": signatures,
        "signature_check_us": round(check_us, 1),
        "share_of_signature_limit": round(per_s * signatures * check_us / 1e6 / processes, 3),
        "bundle_bytes": len(data),
        "presentation_bytes": len(text),
    }


def verify_repeatedly(presented: Presented) -> Verified:
    """Verify one license after the other for the time asked; the policy is read once, as a verifier keeps its anchor.

    Raises:
        StoryError: a verification does not end well.
    """
    policy = Policy.parse(SHA256_ED25519, presented.policy)
    verifier = Verifier(SHA256_ED25519, policy)
    count, started_s, cpu_s = 0, time.monotonic(), time.process_time()
    for text, bundle in itertools.cycle(presented.licenses):
        if count and time.monotonic() >= started_s + presented.seconds:
            break
        question = Question(
            now_ms=now_ms(),
            audience=content.CENTRE.uscc,
            nonce=_NONCE,
            require_holder=True,
        )
        if not presented.keeps:
            verifier = Verifier(SHA256_ED25519, policy)
        report = verifier.verify(question, credential=text, bundle=bundle)
        if report.exit_code is not ExitCode.VALID:
            raise StoryError(f"the presentation does not verify: {report.to_json()}")
        count += 1
    return Verified(count, time.monotonic() - started_s, time.process_time() - cpu_s)


def _present(directory: Path, seconds: float, progress: Progress) -> Presented:
    with local_chain(directory / "network") as chain:
        register_matter(chain, progress)
        licenses = issue_licenses(chain, _LICENSES, progress)
        proven = chain.prove()
        presented = []
        for one in licenses:
            bundle = license_bundle(proven, one.handle)
            assert bundle is not None, "issued above"
            text = present(
                SHA256_ED25519,
                one.issued.credential,
                content.LISTED_FIELDS,
                binding=(one.holder, content.CENTRE.uscc, _NONCE, now_ms()),
            )
            presented.append((text, bundle.encode(SHA256_ED25519)))
        policy = (chain.network.directory / "policy.txt").read_bytes()
    return Presented(policy, tuple(presented), seconds, keeps=False)
