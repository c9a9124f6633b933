"""Options that several commands share, each declared once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from node.config import EngineName

DEFAULT_HOME: Final = Path("~/.mulu")

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print one JSON value instead of tables.", show_default=False)
]
HomeOption = Annotated[
    Path,
    typer.Option(
        "--home",
        envvar="MULU_HOME",
        help="Directory of the network's files, profiles and keys.",
        file_okay=False,
    ),
]
ProfileOption = Annotated[
    str | None,
    typer.Option(
        "--profile",
        "-p",
        envvar="MULU_PROFILE",
        help="Profile that names node and key; see `mulu profile list`.",
    ),
]
NodeOption = Annotated[
    str | None,
    typer.Option(
        "--node", envvar="MULU_NODE", help="Address of a node, e.g. http://127.0.0.1:8080."
    ),
]
KeyOption = Annotated[
    Path | None,
    typer.Option("--key", envvar="MULU_KEY", help="Key file to sign with.", dir_okay=False),
]
PolicyOption = Annotated[
    Path | None,
    typer.Option(
        "--policy",
        envvar="MULU_POLICY",
        help="Policy file: the validators that you trust (the anchor of every proof). "
        "If left out: that of the profile.",
        dir_okay=False,
    ),
]
TimeoutOption = Annotated[
    float, typer.Option("--timeout", min=0.1, max=300, help="Seconds to wait for the answer.")
]
FreshOption = Annotated[
    float,
    typer.Option(
        "--fresh",
        min=0,
        max=1e9,
        help="Seconds that the checkpoint may be old, for what holds now.",
    ),
]
AnchorAgeOption = Annotated[
    float,
    typer.Option("--max-anchor-age", min=0, max=36_500, help="Days that the policy may be old."),
]
LimitOption = Annotated[int, typer.Option("--limit", min=1, max=500, help="Rows of a page.")]
CursorOption = Annotated[
    str | None,
    typer.Option("--cursor", help="Where to go on: the cursor that the last page ended with."),
]
EngineOption = Annotated[
    EngineName,
    typer.Option(
        "--engine",
        help="What orders transactions: tendermint is built in, cometbft a program of its own.",
    ),
]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.", show_default=False)]
HandleArgument = Annotated[
    str, typer.Argument(metavar="HANDLE", help="The license's handle, 64 hex digits.")
]
