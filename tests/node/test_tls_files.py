"""A node without a usable certificate says which file it is, and what to do."""

from __future__ import annotations

import datetime
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from cli.network_setup import create_network
from node.certificates import create_certificate_authority, issue_node_certificate
from node.config import format_config
from node.errors import InvalidConfiguration
from node.home import MAX_TLS_FILE_BYTES, Home, check_tls, open_home

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = datetime.datetime.fromtimestamp(1_790_000_000, tz=datetime.UTC)
OTHER = issue_node_certificate(create_certificate_authority("other-ca", now=NOW), "x", now=NOW)


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    network = create_network(tmp_path_factory.mktemp("network") / "home")
    return network.node_home(network.query_nodes[0])


@pytest.fixture
def home(pristine: Path, tmp_path: Path) -> Home:
    return Home(Path(shutil.copytree(pristine, tmp_path / "node")))


def refusal(home: Home) -> str:
    with pytest.raises(InvalidConfiguration) as error:
        check_tls(open_home(home.root))
    return str(error.value)


def half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut": half,
    "garbage": lambda path: path.write_bytes(os.urandom(300)),
    "endless": lambda path: os.truncate(path, MAX_TLS_FILE_BYTES + 1),
    "a directory": directory,
    "a pipe": pipe,
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("name", ["tls.crt", "tls.pem"])
def test_a_damaged_file_is_named_with_the_remedy(name: str, damage: str, home: Home) -> None:
    DAMAGE[damage](home.keys / name)
    told = refusal(home)
    assert str(home.keys / name) in told
    assert f"mulu node renew {home.root} --authority CA.pem" in told


def test_a_key_of_another_certificate_is_told_as_such(home: Home) -> None:
    home.tls_key.write_bytes(OTHER.key_pem)
    assert "it belongs to another certificate" in refusal(home)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_may_read_is_not_used(mode: int, home: Home) -> None:
    home.tls_key.chmod(mode)
    assert f"others may read it; run: chmod 600 {home.tls_key}" in refusal(home)


@pytest.mark.parametrize(("certificate", "key"), [("api.crt", "api.pem"), ("api.pem", None)])
def test_the_certificate_of_the_api_is_checked_too(
    certificate: str, key: str | None, home: Home
) -> None:
    opened = open_home(home.root)
    api = opened.config.api.model_copy(update={"tls_certificate": certificate, "tls_key": key})
    config = opened.config.model_copy(update={"api": api})
    home.config.write_text(format_config(config), "utf-8")
    assert f"cannot read {home.root / certificate}: No such file" in refusal(home)
    (home.root / "api.crt").write_bytes(OTHER.certificate_pem)
    (home.root / "api.pem").write_bytes(OTHER.key_pem + OTHER.certificate_pem)
    (home.root / "api.pem").chmod(0o640)  # as who issues it to this machine has it
    check_tls(replace(opened, config=config))


def test_a_whole_pair_is_used(home: Home) -> None:
    check_tls(open_home(home.root))


def test_a_node_that_cannot_start_says_why_and_exits_with_2(home: Home) -> None:
    home.tls_key.write_bytes(b"")
    done = subprocess.run(
        [sys.executable, "-m", "node", str(home.root)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = done.stdout + done.stderr
    assert done.returncode == 2
    assert "cannot start" in said and str(home.tls_key) in said and "Traceback" not in said
