"""Questions that a command asks before it does what cannot be undone; without a terminal it says how to answer them."""

from __future__ import annotations

import sys

import typer

from cli.output import CommandError, ExitCode


def confirm(question: str, instead: str) -> bool:
    """Ask, and return whether the answer is yes. `instead` is the option that answers without being asked.

    Raises:
        CommandError: nobody answers.
    """
    try:
        answer: bool = typer.confirm(question, err=True)
    except typer.Abort as abort:
        if not isinstance(abort.__context__, EOFError):
            raise
        end_line()
        raise CommandError(
            "nobody answered the question",
            hint=f"Run the command in a terminal, or give {instead}: then it does not ask.",
            code="no_answer",
            exit_code=ExitCode.BAD_INPUT,
        ) from None
    return answer


def end_line() -> None:
    """End the line of a question that was not answered: what is said next begins one of its own."""
    sys.stderr.write("\n")
    sys.stderr.flush()
