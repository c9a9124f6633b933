"""Configuration files: read strictly, written so that they read back."""

from __future__ import annotations

from pathlib import Path

import pytest

from node.config import (
    ApiConfig,
    NodeConfig,
    PeerAddress,
    PeersConfig,
    format_config,
    load_config,
    parse_config,
)
from node.errors import InvalidConfiguration


def test_what_is_written_reads_back_equal() -> None:
    config = NodeConfig(
        name="beijing",
        role="validator",
        peers=PeersConfig(
            listen_port=7001,
            addresses=(
                PeerAddress(name="hebei", host="127.0.0.1", port=7002),
                PeerAddress(name="tianjin", host="::1", port=7003),
            ),
            certificate_authorities=('keys/a "quoted" \\ name.crt',),
        ),
        api=ApiConfig(
            listen_port=8001, tls_certificate="keys/api.crt", trusted_proxies=("127.0.0.1", "::1")
        ),
    )
    assert parse_config(format_config(config)) == config


def test_two_lines_are_a_whole_configuration() -> None:
    config = parse_config('name = "xiongan"\nrole = "query"\n')
    assert config.mempool.max_count == 50_000
    assert config.consensus.block_pause_ms == 50


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "not TOML"),
        ('role = "query"', "name"),
        ('name = "a"\nrole = "king"', "role"),
        ('name = "a"\nrole = "query"\nsurprise = 1', "surprise"),
        ('name = "a"\nrole = "query"\n[api]\nlisten_port = 70000', "api.listen_port"),
        ('name = "a"\nrole = "query"\n[api]\nlisten_port = "80"', "api.listen_port"),
        ('name = "../a"\nrole = "query"', "name"),
    ],
)
def test_a_wrong_configuration_is_refused_and_the_field_named(text: str, said: str) -> None:
    with pytest.raises(InvalidConfiguration, match=said):
        parse_config(text)


def test_a_missing_file_is_an_error_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfiguration, match=r"config\.toml"):
        load_config(tmp_path / "config.toml")


def test_a_file_that_is_not_text_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InvalidConfiguration, match="UTF-8"):
        load_config(path)
