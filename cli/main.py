"""The `mulu` command: groups, and the one place that turns errors into messages and exit codes."""

from __future__ import annotations

import os
import sys
import traceback
from importlib import import_module
from typing import Annotated, Final, NoReturn

import typer

from cli.demo import commands as demo
from cli.output import (
    CommandError,
    ExitCode,
    OutputError,
    drop_output,
    prepare_streams,
    say,
    show_error,
)
from cli.questions import end_line
from ledger.errors import LedgerError
from node.collector import collect_rarely

GROUPS: Final = {
    "network": "cli.network",
    "node": "cli.node",
    "keys": "cli.keys",
    "profile": "cli.profile",
    "org": "cli.org",
    "directory": "cli.directory",
    "license": "cli.license",
    "wallet": "cli.wallet",
    "audit": "cli.audit",
    "tx": "cli.tx",
    "bench": "cli.bench.commands",
}
"""Command groups and their modules, in the order of the help page."""


DEBUG: Final = "MULU_DEBUG"
"""Where this is set in the environment, an error of Mulu's own shows its traceback."""


def build_app(words: list[str]) -> typer.Typer:
    """Return the command with the group that `words` name, or all: importing all takes a second."""
    app = typer.Typer(
        name="mulu",
        help="A ledger of responsibilities and e-licenses, kept by several jurisdictions.\n\n"
        "New here? Run the whole story: mulu demo",
        no_args_is_help=True,
        rich_markup_mode=None,
        pretty_exceptions_enable=False,
        add_completion=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    app.command("demo")(demo.demo)
    first = words[0] if words else ""
    for name in (first,) if first in GROUPS else GROUPS:
        app.add_typer(import_module(GROUPS[name]).app, name=name)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import PackageNotFoundError, version

        try:
            say(f"mulu {version('mulu')}")
        except PackageNotFoundError:
            say("mulu (from a checkout)")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    pass


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command and exit with its code."""
    collect_rarely()
    words = sys.argv[1:] if arguments is None else arguments
    try:
        prepare_streams()
        code = run(words)
        sys.stdout.flush()
    except (OutputError, BrokenPipeError) as error:
        drop_output()
        code = ExitCode.NOT_ESTABLISHED
        if isinstance(error, OutputError):  # else the reader of our output wants no more of it
            show_error(str(error), hint="What the command did stands." if sys.stdout else "")
    sys.exit(code)


def run(words: list[str]) -> int:
    """Run one command line and return its exit code; every error has been reported.

    Raises:
        OutputError: standard output cannot be written.
        BrokenPipeError: its reader has gone.
    """
    as_json = "--json" in words
    try:
        result = build_app(words)(args=words, prog_name="mulu", standalone_mode=False)
    except typer.Abort as abort:
        end_line()
        if isinstance(abort.__context__, EOFError):
            hint = "Run in a terminal; where a command has --yes, it does not ask."
            show_error("nobody answered the question", hint=hint, code="no_answer", as_json=as_json)
            return ExitCode.BAD_INPUT
        show_error("aborted", code="aborted", as_json=as_json)
        return 130
    except typer.TyperException as error:
        return _usage_error(error, as_json)
    except KeyboardInterrupt:
        return 130
    except CommandError as error:
        return _command_error(error, as_json)
    except LedgerError as error:
        from cli.failures import command_error

        return _command_error(command_error(error), as_json)
    except (OutputError, BrokenPipeError):
        raise
    except SystemExit as ended:  # so ends the framework where the reader of our output has gone
        if isinstance(ended.__context__, BrokenPipeError):
            raise ended.__context__ from None
        raise
    except OSError as error:
        show_error(_system_text(error), code="system", as_json=as_json)
        return ExitCode.BAD_INPUT
    except Exception as error:
        return _own_error(error, as_json)
    return result if isinstance(result, int) else ExitCode.OK


def _command_error(error: CommandError, as_json: bool) -> ExitCode:
    show_error(error.text, hint=error.hint, code=error.code, as_json=as_json)
    return error.exit_code


def _own_error(error: Exception, as_json: bool) -> ExitCode:
    """Report an error of Mulu's own, also that memory or depth did not suffice: it says nothing of what was asked."""
    if os.environ.get(DEBUG):
        traceback.print_exception(error)
    what = " ".join(f"{type(error).__name__} {error}".split())
    places = traceback.extract_tb(error.__traceback__, limit=-1)  # where it was raised
    where = "".join(f" ({one.filename}, line {one.lineno})" for one in places)
    text = f"nothing could be established, for an error of Mulu's own: {what}{where}"
    show_error(text, code="internal", as_json=as_json)
    return ExitCode.NOT_ESTABLISHED


def _system_text(error: OSError) -> str:
    """Say what the system refused. Files are written under another name first, which tells people nothing."""
    if isinstance(error, FileNotFoundError) and isinstance(error.filename, str):
        directory = os.path.dirname(error.filename)
        if directory and not os.path.isdir(directory):
            return f"there is no directory {directory}"
    return f"{error.filename or 'system'}: {error.strerror or error}"


def _usage_error(error: typer.TyperException, as_json: bool) -> ExitCode:
    """Report a wrong command line; a group without a command shows its help."""
    context = getattr(error, "ctx", None)
    text = error.format_message() if hasattr(error, "format_message") else str(error)
    if type(error).__name__ == "NoArgsIsHelpError":
        say(context.get_help() if context is not None else text)
        return ExitCode.BAD_INPUT
    hint = f"See {context.command_path} --help" if context is not None else ""
    if context is not None and text.startswith("Got unexpected extra argument"):
        options = [option for one in context.command.params for option in one.opts]
        hint = f"Name nodes by --only NAME. {hint}" if "--only" in options else hint
    show_error(text, hint=hint, code="usage", as_json=as_json)
    return ExitCode.BAD_INPUT


if __name__ == "__main__":
    main()
