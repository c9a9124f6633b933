"""Offline verification: what `mulu license verify --offline` does in its process, over and over, on every core."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
from licenses.verification import Question, verify
from node.evidence import license_bundle

_NONCE = "bench"


@dataclass(frozen=True, slots=True)
class Presented:
    """What a verifier holds, and for how long it verifies, in seconds."""

    policy: bytes
    presentation: str
    bundle: bytes
    seconds: float


@dataclass(frozen=True, slots=True)
class Verified:
    """How many verifications one process did, in which time, and what they cost it."""

    count: int
    seconds: float
    cpu_s: float


def measure_verification(seconds: float, progress: Progress) -> dict[str, Any]:
    """Issue a license on a chain in this process, and verify its presentation on every core."""
    with temporary_directory() as directory:
        presented = _present(directory, seconds, progress)
    processes = cores()
    progress(f"verifying in {processes} processes")
    check_us = signature_check_us()
    parts = at_once(verify_repeatedly, [presented] * processes)
    check_us = (check_us + signature_check_us()) / 2
    count = sum(part.count for part in parts)
    per_s = sum(part.count / part.seconds for part in parts)
    bundle = Bundle.decode(SHA256_ED25519, presented.bundle)
    # The issuer's signature, the holder's binding, and those under the checkpoint.
    signatures = 2 + len(bundle.checkpoint.signatures)
    return {
        "processes": processes,
        "verifications": count,
        "verifications_per_s": round(per_s, 1),
        "verifications_per_s_and_core": round(per_s / processes, 1),
        "cpu_us_per_verification": round(sum(part.cpu_s for part in parts) / count * 1e6, 1),
        "signatures_per_verification": signatures,
        "signature_check_us": round(check_us, 1),
        "share_of_signature_limit": round(per_s * signatures * check_us / 1e6 / processes, 3),
        "bundle_bytes": len(presented.bundle),
        "presentation_bytes": len(presented.presentation),
    }


def verify_repeatedly(presented: Presented) -> Verified:
    """Verify for the time asked; the policy is read once, as a verifier keeps its anchor.

    Raises:
        StoryError: a verification does not end well.
    """
    policy = Policy.parse(SHA256_ED25519, presented.policy)
    count, started_s, cpu_s = 0, time.monotonic(), time.process_time()
    while count == 0 or time.monotonic() < started_s + presented.seconds:
        question = Question(
            now_ms=now_ms(),
            audience=content.CENTRE.uscc,
            nonce=_NONCE,
            require_holder=True,
        )
        report = verify(
            SHA256_ED25519,
            policy,
            question,
            credential=presented.presentation,
            bundle=presented.bundle,
        )
        if report.exit_code is not ExitCode.VALID:
            raise StoryError(f"the presentation does not verify: {report.to_json()}")
        count += 1
    return Verified(count, time.monotonic() - started_s, time.process_time() - cpu_s)


def _present(directory: Path, seconds: float, progress: Progress) -> Presented:
    with local_chain(directory / "network") as chain:
        register_matter(chain, progress)
        (license_,) = issue_licenses(chain, 1, progress)
        bundle = license_bundle(chain.prove(), license_.handle)
        assert bundle is not None, "issued above"
        text = present(
            SHA256_ED25519,
            license_.issued.credential,
            content.LISTED_FIELDS,
            binding=(license_.holder, content.CENTRE.uscc, _NONCE, now_ms()),
        )
        policy = (chain.network.directory / "policy.txt").read_bytes()
    return Presented(policy, text, bundle.encode(SHA256_ED25519), seconds)
