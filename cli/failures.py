"""What an error of the ledger's own is to a command: text, hint, stable code and exit code."""

from __future__ import annotations

from typing import Final

from cli.output import CommandError, ExitCode
from ledger.admission import ROLE_MISSING
from ledger.errors import InvalidPolicy, InvalidProof, LedgerError
from ledger.light import NotEstablishedError
from node.errors import ApiProblem, NodeUnreachable

_HINTS: Final = {
    "other_network": "Give the policy of that network: GET /v1/policy of a member that you trust."
}
"""What to do about an error of the ledger's own, by its code."""


def command_error(error: LedgerError) -> CommandError:
    """Return what an error of the ledger's own amounts to.

    False evidence that gets here is a node's: what is false in a file that somebody gave has a verdict, or an error of
    its command.
    """
    if isinstance(error, NodeUnreachable):
        return CommandError(
            str(error),
            hint="Does the node run (`mulu network status`)? Is --node, MULU_NODE or the profile right?",
            code="unreachable",
            exit_code=ExitCode.NOT_ESTABLISHED,
        )
    if isinstance(error, ApiProblem):
        return CommandError(
            str(error),
            hint=_api_hint(error),
            code=error.code or "refused",
            exit_code=_api_exit_code(error.status),
        )
    if isinstance(error, InvalidProof) and not isinstance(error, InvalidPolicy):
        return CommandError(
            f"what the node shows is false: {error}",
            hint="Ask another node.",
            code="proof_false",
            exit_code=ExitCode.REFUSED,
        )
    code = getattr(error, "code", "bad_input")
    not_established = isinstance(error, NotEstablishedError)
    return CommandError(
        str(error),
        hint=_HINTS.get(code, ""),
        code=code,
        exit_code=ExitCode.NOT_ESTABLISHED if not_established else ExitCode.BAD_INPUT,
    )


def _api_hint(problem: ApiProblem) -> str:
    if problem.code == "key_not_enrolled":
        return "Give an enrolled key with --key or --profile; a registrar enrols one: `mulu org enrol`."
    if problem.code == ROLE_MISSING:
        asked = f"It was asked with {problem.asked_with}. " if problem.asked_with else ""
        return f"{asked}Give another key with --key or --profile; `mulu profile list` shows whose you have."
    if problem.code == "session.refused":
        return (
            "A code's first digit names the holder's jurisdiction; if that is not your node's, give "
            "--session-node URL, of a node there."
        )
    if problem.status == 401:
        return "Give an enrolled key with --key or --profile; check this machine's clock."
    if problem.status == 429:
        return "Too many requests; wait a moment."
    return ""


def _api_exit_code(status: int) -> ExitCode:
    if status >= 500 or status == 429:
        return ExitCode.NOT_ESTABLISHED
    return ExitCode.BAD_INPUT if status in (400, 413, 415, 422) else ExitCode.REFUSED
