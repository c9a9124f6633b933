"""`mulu profile`: who you are and which node you talk to."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from cli.connection import check_node_address, connect, mulu_home
from cli.options import JsonOption, KeyOption, NodeOption, ProfileOption
from cli.output import CommandError, say, show_json, show_table
from cli.profiles import (
    PROFILE_NAME,
    Profile,
    Profiles,
    load_profiles,
    profiles_path,
    save_profiles,
)
from node.auth import make_token

app = typer.Typer(
    help="Name pairs of node and key, so that commands need not repeat them.", no_args_is_help=True
)

ProfileName = Annotated[str, typer.Argument(metavar="NAME", help="The profile's name.")]


@app.command("list", epilog="Example: MULU_HOME=./network mulu profile list")
def list_profiles(as_json: JsonOption = False) -> None:
    """List the profiles of the Mulu home (MULU_HOME, default ~/.mulu)."""
    profiles = load_profiles(mulu_home())
    if as_json:
        show_json(
            {
                "default": profiles.default,
                "profiles": {name: asdict(one) for name, one in sorted(profiles.by_name.items())},
            }
        )
        return
    show_table(
        f"Profiles in {profiles_path(profiles.directory)}",
        ("", "Name", "Node", "Key", "Who"),
        (
            ("*" if name == profiles.default else " ", name, one.node, one.key, one.description)
            for name, one in sorted(profiles.by_name.items())
        ),
    )


@app.command(
    epilog="Example: mulu profile add editor --node http://127.0.0.1:8080 --key ~/editor.key"
)
def add(
    name: ProfileName,
    node: Annotated[str, typer.Option("--node", help="Address of the node, http://HOST:PORT.")],
    key: Annotated[Path | None, typer.Option("--key", help="Key file.")] = None,
    policy: Annotated[Path | None, typer.Option("--policy", help="Policy file.")] = None,
    organisation: Annotated[str, typer.Option(help="USCC of your organisation.")] = "",
    description: Annotated[str, typer.Option("--description", help="Who this is.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Add a profile, or replace the one of that name."""
    if PROFILE_NAME.fullmatch(name) is None:
        raise CommandError(
            f"{name!r} cannot name a profile", hint="Use a-z, 0-9 and -, at most 63 characters."
        )
    check_node_address(node)
    for file in (key, policy):
        if file is not None and not file.is_file():
            raise CommandError(f"there is no file {file}")
    profiles = load_profiles(mulu_home())
    profile = Profile(
        node=node,
        key=str(key.resolve()) if key else "",
        policy=str(policy.resolve()) if policy else "",
        organisation=organisation,
        description=description,
    )
    save_profiles(
        Profiles(profiles.directory, profiles.default or name, {**profiles.by_name, name: profile})
    )
    if as_json:
        show_json({"name": name, **asdict(profile)})
    else:
        say(f"Profile {name} saved in {profiles_path(profiles.directory)}.")


@app.command(epilog="Example: mulu profile use tongzhou-editor")
def use(name: ProfileName, as_json: JsonOption = False) -> None:
    """Make a profile the default."""
    profiles = load_profiles(mulu_home())
    profiles.select(name)
    save_profiles(Profiles(profiles.directory, name, profiles.by_name))
    if as_json:
        show_json({"default": name})
    else:
        say(f"{name} is the default profile now.")


@app.command(epilog="Example: mulu profile token --profile national-auditor")
def token(
    node: NodeOption = None,
    key: KeyOption = None,
    profile: ProfileOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print a token for the HTTP API, valid for five minutes; see docs/API.md.

    Who has it is taken for you: do not leave it in files or logs.
    """
    connection = connect(node, key, profile)
    with connection.client as client:
        signed = make_token(
            connection.require_signer(), client.network().chain_id, int(time.time())
        )
    if as_json:
        show_json({"token": signed, "node": connection.client.url})
    else:
        say(signed)


@app.command(epilog="Example: mulu profile remove editor")
def remove(name: ProfileName, as_json: JsonOption = False) -> None:
    """Remove a profile; its key file stays."""
    profiles = load_profiles(mulu_home())
    profiles.select(name)
    left = {other: one for other, one in profiles.by_name.items() if other != name}
    default = "" if profiles.default == name else profiles.default
    save_profiles(Profiles(profiles.directory, default, left))
    if as_json:
        show_json({"removed": name, "default": default})
    else:
        say(f"Profile {name} removed.")
