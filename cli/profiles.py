"""Profiles: named pairs of a node and a key, kept in `profiles.toml` in the Mulu home.

default = "tongzhou-editor"

[profiles.tongzhou-editor]
node = "http://127.0.0.1:8080"
key = "keys/tongzhou-editor.key"      relative to the file
policy = "policy.txt"
"""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from cli.output import CommandError
from cli.output_files import write_output
from cli.validation import read_bytes

PROFILE_NAME: Final = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)
_DIVISION: Final = slice(2, 8)
"""Where a USCC has the division that its organisation is registered in."""
_FIELDS: Final = ("node", "key", "sealing_key", "policy", "organisation", "description")


@dataclass(frozen=True, slots=True)
class Profile:
    """Which node to talk to, with which key, and what to believe. Empty where a command needs none of it."""

    node: str = ""
    key: str = ""
    sealing_key: str = ""
    policy: str = ""
    organisation: str = ""
    description: str = ""


@dataclass(frozen=True, slots=True)
class Profiles:
    """All profiles of one home; `directory` is what relative paths are relative to."""

    directory: Path
    default: str = ""
    by_name: Mapping[str, Profile] = field(default_factory=dict)

    def select(self, name: str | None) -> Profile:
        """Return the named profile, the default one, or an empty one where there is neither.

        Raises:
            CommandError: no profile of that name.
        """
        wanted = name or self.default
        if not wanted:
            return Profile()
        profile = self.by_name.get(wanted)
        if profile is None:
            raise CommandError(
                f"there is no profile {wanted!r} in {profiles_path(self.directory)}",
                hint=f"Known profiles: {', '.join(sorted(self.by_name)) or 'none'}. Add one with `mulu profile add`.",
            )
        return profile

    def approver_for(self, organisation: str) -> str | None:
        """Return the profile of the division's approver, by its name and its organisation's code, if there is one.

        `organisation` is a USCC; a profile says nothing of roles, so that this is a guess for a hint only. What an
        authority publishes, the one above approves: its own approvers are not meant.
        """
        division = organisation[_DIVISION]
        found = [
            name
            for name, profile in self.by_name.items()
            if name.endswith("-approver")
            and profile.organisation[_DIVISION] == division
            and profile.organisation != organisation
        ]
        return found[0] if division and len(found) == 1 else None

    def path(self, text: str) -> Path:
        """Return a path of a profile, resolved."""
        return self.directory / Path(text).expanduser()


def profiles_path(home: Path) -> Path:
    return home / "profiles.toml"


def load_profiles(home: Path) -> Profiles:
    """Read a home's profiles; none where there is no file.

    Raises:
        CommandError: the file is no profile file.
    """
    path = profiles_path(home)
    if not path.exists():
        return Profiles(home)
    try:
        document = tomllib.loads(read_bytes(path).decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise CommandError(
            f"cannot read {path}: {error}", hint="Correct or delete the file."
        ) from None
    by_name = {}
    tables = document.get("profiles", {})
    if not isinstance(tables, dict):
        raise CommandError(f"{path}: profiles are tables, [profiles.NAME]")
    for name, fields in tables.items():
        if (
            not isinstance(fields, dict)
            or set(fields) - set(_FIELDS)
            or not all(isinstance(value, str) for value in fields.values())
        ):
            raise CommandError(f"{path}, profile {name}: expected texts {', '.join(_FIELDS)}")
        by_name[name] = Profile(**fields)
    return Profiles(home, str(document.get("default", "")), by_name)


def save_profiles(profiles: Profiles) -> None:
    """Replace the home's profile file."""
    lines = [f"default = {_quoted(profiles.default)}"]
    for name, profile in sorted(profiles.by_name.items()):
        lines += ["", f"[profiles.{name}]"]
        lines += [
            f"{field_name} = {_quoted(getattr(profile, field_name))}"
            for field_name in _FIELDS
            if getattr(profile, field_name)
        ]
    profiles.directory.mkdir(parents=True, exist_ok=True)
    write_output(profiles_path(profiles.directory), ("\n".join(lines) + "\n").encode())


def _quoted(text: str) -> str:
    """Return a TOML basic string: JSON's escapes are among TOML's; DEL, which TOML forbids, is escaped, too."""
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
