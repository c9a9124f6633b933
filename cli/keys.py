"""`mulu keys`: key files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cli.connection import new_passphrase
from cli.options import JsonOption
from cli.output import CommandError, say, show_json, show_record
from ledger.keyfile import is_protected, read_public_key, save_key, save_sealing_key
from ledger.keys import SealingKey, SoftwareSigner

app = typer.Typer(help="Create and inspect key files.", no_args_is_help=True)

KeyFile = Annotated[Path, typer.Argument(metavar="FILE", help="The key file.", dir_okay=False)]


@app.command(epilog="Example: mulu keys new ~/editor.key")
def new(
    file: KeyFile,
    algorithm: Annotated[
        str,
        typer.Option(help="ed25519, p256 (phones), or sealing (X25519: what others encrypt to)."),
    ] = "ed25519",
    unencrypted: Annotated[
        bool,
        typer.Option("--unencrypted", help="No passphrase; for tests and demonstrations only."),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Create a key and save it, encrypted, readable by you only.

    The passphrase is asked for, or taken from MULU_PASSPHRASE.
    """
    if algorithm not in ("ed25519", "p256", "sealing"):
        raise CommandError(
            f"unknown algorithm {algorithm!r}", hint="Choose ed25519, p256 or sealing."
        )
    if file.exists():
        raise CommandError(
            f"{file} exists already; a key is never overwritten", hint="Choose another file."
        )
    if not file.parent.is_dir():
        raise CommandError(f"there is no directory {file.parent}", hint="Create it first.")
    passphrase = "" if unencrypted else new_passphrase("--unencrypted")
    if algorithm == "sealing":
        sealing = SealingKey.generate()
        save_sealing_key(file, sealing, passphrase)
        public = sealing.public_key.hex()
    else:
        signer = SoftwareSigner.generate(algorithm)
        save_key(file, signer, passphrase)
        public = str(signer.public_key)
    if as_json:
        show_json({"file": str(file), "public_key": public, "encrypted": bool(passphrase)})
    else:
        say(f"{public}\nsaved in {file}{'' if passphrase else ' WITHOUT a passphrase'}")


@app.command(epilog="Example: mulu keys show keys/tongzhou-editor.key")
def show(file: KeyFile, as_json: JsonOption = False) -> None:
    """Show a key file's public key; needs no passphrase."""
    record = {
        "file": str(file),
        "public_key": read_public_key(file),
        "encrypted": is_protected(file),
    }
    if as_json:
        show_json(record)
    else:
        show_record("Key", record)
