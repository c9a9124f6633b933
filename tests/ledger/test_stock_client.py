"""A stock client, Go's sumdb/note and tlog, reads a log of ours: checkpoint, hash tiles, proofs, entry bundles."""

from __future__ import annotations

import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.notes import KeyType, VerifierKey
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.tiles import Tile, encode_entries, tile_width
from tests.go.stock_client import build_stock_client, run_stock_client, verified_by_stock_client
from tests.ledger.sample_chain import CHAIN_ID, SampleChain, signer, tiles_of


def publish(chain: SampleChain, directory: Path) -> None:
    """Write the log's public resources as files, as tlog-tiles lays them out."""
    size = chain.frontier.size
    for tile in tiles_of(size):
        assert tile.level is not None
        content = chain.read_tile(tile.level, tile.index)[: 32 * tile.width]
        _write(directory / tile.path, content)
        if tile.level == 0:
            first = tile.index * 256
            width = tile_width(size, 0, tile.index)
            path = Tile(None, tile.index, width).path
            _write(directory / path, encode_entries(chain.entries[first : first + width]))
    (directory / "checkpoint").write_bytes(chain.checkpoint().encode())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stock_client(tmp_path_factory.mktemp("go"))


@pytest.fixture(scope="module")
def chain() -> SampleChain:
    """A log of more than 2^16 entries: three levels of tiles, the last two partial."""
    chain = SampleChain()
    while chain.frontier.size < 66_000:
        chain.commit(transactions=[b"%d" % n for n in range(3_456)])
    return chain


@pytest.fixture(scope="module")
def directory(chain: SampleChain, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("log")
    publish(chain, directory)
    return directory


@pytest.fixture
def url(directory: Path) -> Iterator[str]:
    handler = functools.partial(_QuietHandler, directory=str(directory))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/"
        finally:
            server.shutdown()
            thread.join()


class _QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


def _log_keys(chain: SampleChain) -> list[str]:
    return [str(log.key) for log in chain.policy().logs]


def test_a_stock_client_verifies_checkpoint_records_and_growth_over_http(
    program: Path, chain: SampleChain, url: str, tmp_path: Path
) -> None:
    (tmp_path / "entry").write_bytes(chain.entries[12_345])
    report = verified_by_stock_client(
        program,
        url,
        _log_keys(chain),
        entries=[(12_345, tmp_path / "entry")],
        limit=200,
    )
    assert report["origin"] == CHAIN_ID
    assert report["size"] == chain.frontier.size
    assert report["signatures"] == [CHAIN_ID]
    assert report["records"] >= 190
    assert report["prefixes"] >= 190
    assert report["entries"] == 1


@pytest.mark.parametrize("blocks", [1, 2, 7, 8])
def test_a_stock_client_verifies_every_record_bundle_and_prefix_of_small_logs(
    program: Path, tmp_path: Path, blocks: int
) -> None:
    chain = SampleChain()
    for _ in range(blocks):
        chain.commit(transactions=[b"transaction"] * 35)
    older = tmp_path / "older"
    older.write_bytes(chain.checkpoint().encode())
    chain.commit()
    publish(chain, tmp_path)
    report = verified_by_stock_client(
        program, str(tmp_path), _log_keys(chain), old_checkpoint=older, entry_bundles=True
    )
    assert report["records"] == report["prefixes"] == report["entries"] == chain.frontier.size


def test_a_stock_client_refuses_a_log_with_a_changed_entry(program: Path, tmp_path: Path) -> None:
    chain = SampleChain()
    chain.commit(transactions=[b"transaction"] * 300)
    keys = _log_keys(chain)
    publish(chain, tmp_path)
    changed = tmp_path / "entry"
    changed.write_bytes(chain.entries[7] + b"!")
    result = run_stock_client(program, str(tmp_path), keys, entries=[(7, changed)])
    assert result.returncode == 1
    assert "entry 7" in result.stderr


def test_a_stock_client_refuses_a_changed_tile_and_a_foreign_log_key(
    program: Path, tmp_path: Path
) -> None:
    chain = SampleChain()
    chain.commit(transactions=[b"transaction"] * 300)
    publish(chain, tmp_path)
    foreign = VerifierKey.create(SUITE, CHAIN_ID, KeyType.ED25519, signer("stranger").public_key)
    result = run_stock_client(program, str(tmp_path), [str(foreign)])
    assert result.returncode == 1
    assert "no verifiable signatures" in result.stderr
    tile = tmp_path / "tile" / "0" / "000"
    content = bytearray(tile.read_bytes())
    content[100] ^= 1
    tile.write_bytes(content)
    assert run_stock_client(program, str(tmp_path), _log_keys(chain)).returncode == 1
