"""The index: what is fed block by block must be what is built anew from state and log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.exc import SQLAlchemyError

from ledger.finalization import FinalizedBlock
from ledger.suite import SHA256_ED25519 as SUITE
from ledger.transactions import Transaction
from node.errors import IndexUnavailableError
from node.index import Base, Index
from tests.licenses.test_on_the_ledger import LedgerStory

TABLES = ("records", "links", "uses", "progress")


class Fed:
    """A story on a real ledger whose every block is kept for an index."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.story = LedgerStory(directory / "ledger")
        self.blocks: list[FinalizedBlock] = []
        chain = self.story.ledger
        commit = chain.commit

        def kept(*transactions: Transaction, **options: Any) -> FinalizedBlock:
            finalized = commit(*transactions, **options)
            self.blocks.append(finalized)
            return finalized

        chain.commit = kept  # type: ignore[method-assign]
        self.genesis_base = self.base()

    def base(self) -> Base:
        chain = self.story.ledger
        return Base(chain.application.tip, chain.store.snapshot())

    def index(self, name: str, base: Base) -> Index:
        async def given() -> Base:
            return base

        return Index(f"sqlite:///{self.directory / name}", SUITE, given)


@pytest.fixture(scope="module")
def fed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fed]:
    fed = Fed(tmp_path_factory.mktemp("index"))
    fed.story.publish_directory()
    fed.story.define_types()
    holder = fed.story.holder()
    for _ in range(3):
        envelope = fed.story.request()
        assert fed.story.codes(fed.story.use(envelope, fed.story.consent(envelope, holder))) == (
            "",
        )
    yield fed
    fed.story.ledger.close()


async def follow(index: Index, height: int) -> None:
    """Run an index until it has reached a height."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(index.run())
        async with asyncio.timeout(20):
            while index.height < height:
                await index.reach(height)
        running.cancel()


def rows(index: Index) -> dict[str, list[Any]]:
    with index._engine.connect() as connection:
        return {
            table: sorted(
                (tuple(row) for row in connection.exec_driver_sql(f"SELECT * FROM {table}")),
                key=repr,
            )
            for table in TABLES
        }


def test_fed_by_block_and_built_anew_are_the_same(fed: Fed) -> None:
    async def scenario() -> None:
        height = fed.blocks[-1].height
        grown = fed.index("grown.sqlite", fed.genesis_base)
        for block in fed.blocks:
            grown.feed(block)
        await follow(grown, height)
        built = fed.index("built.sqlite", fed.base())
        await follow(built, height)
        assert rows(grown) == rows(built)
        assert len(rows(built)["uses"]) == 3
        assert rows(built)["links"]
        built.close()
        grown.close()

    asyncio.run(scenario())


def test_an_index_that_is_where_the_ledger_is_is_kept_and_another_is_built_anew(fed: Fed) -> None:
    async def scenario() -> None:
        height = fed.blocks[-1].height
        first = fed.index("kept.sqlite", fed.base())
        await follow(first, height)
        with first._engine.begin() as connection:
            connection.exec_driver_sql("UPDATE records SET text = 'mark'")
        first.close()
        second = fed.index("kept.sqlite", fed.base())
        await follow(second, height)
        assert {row[3] for row in rows(second)["records"]} == {"mark"}, "kept"
        with second._engine.begin() as connection:
            connection.exec_driver_sql("UPDATE progress SET height = 1")
        second.close()
        third = fed.index("kept.sqlite", fed.base())
        await follow(third, height)
        assert "mark" not in {row[3] for row in rows(third)["records"]}, "built anew"
        third.close()

    asyncio.run(scenario())


def test_lists_are_searched_filtered_and_paged(fed: Fed) -> None:
    async def scenario() -> None:
        index = fed.index("asked.sqlite", fed.base())
        await follow(index, fed.blocks[-1].height)
        everything = await index.identifiers("directory/responsibility", limit=100)
        assert everything == sorted(everything)
        paged: list[str] = []
        while found := await index.identifiers(
            "directory/responsibility", after=paged[-1] if paged else "", limit=1
        ):
            paged += found
        assert paged == everything
        effective = await index.identifiers(
            "directory/responsibility", limit=100, status="effective"
        )
        assert set(effective) <= set(everything)
        assert await index.identifiers("directory/matter", limit=10, text="no such text") == []
        [handle] = await index.identifiers("licenses/license", limit=10)
        assert await index.identifiers("licenses/license", limit=10, prefix=handle[:4]) == [handle]
        assert await index.identifiers("licenses/license", limit=10, prefix="zz") == []
        uses = await index.uses_of_licenses(handle, handle, limit=10)
        assert [use.number for use in uses] == [1, 2, 3]
        assert [use.license for use in await index.use(uses[1].use)] == [handle]
        later = await index.uses_of_licenses(handle, handle, after=(handle, 2), limit=10)
        assert later == uses[2:]
        index.close()

    asyncio.run(scenario())


def test_a_database_that_fails_is_built_anew_and_costs_no_more(fed: Fed) -> None:
    async def scenario() -> None:
        index = fed.index("failing.sqlite", fed.base())
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(index.run())
            async with asyncio.timeout(20):
                while index.height < fed.blocks[-1].height:
                    await index.reach(fed.blocks[-1].height)
                with index._engine.begin() as connection:
                    connection.exec_driver_sql("DROP TABLE records")
                index.feed(replace(fed.blocks[-1], tip=replace(fed.blocks[-1].tip, height=10**6)))
                assert not index.is_failing
                while index.height != -1:
                    await index._advanced.wait(0.01)
            assert index.is_failing
            with pytest.raises(IndexUnavailableError):
                await index.reach(fed.blocks[-1].height)
            assert not running.done()
            running.cancel()
        index.close()

    asyncio.run(scenario())


def test_an_unreadable_index_is_built_anew(fed: Fed) -> None:
    async def scenario() -> None:
        height = fed.blocks[-1].height
        first = fed.index("damaged.sqlite", fed.base())
        await follow(first, height)
        with first._engine.begin() as connection:
            connection.exec_driver_sql("DROP TABLE progress")
            connection.exec_driver_sql("CREATE TABLE progress (other TEXT)")
        first.close()
        second = fed.index("damaged.sqlite", fed.base())
        await follow(second, height)
        assert rows(second)["progress"]
        second.close()

    asyncio.run(scenario())


def test_a_database_that_cannot_be_opened_is_failing_until_it_can(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.index.RETRY_S", 0.02)
    path = fed.directory / "directory.sqlite"
    path.mkdir()

    async def scenario() -> None:
        index = fed.index(path.name, fed.base())
        assert not index.is_failing, "what is being built does not fail"
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(index.run())
            async with asyncio.timeout(20):
                while not index.is_failing:
                    await index._advanced.wait(0.01)
                assert index.height == -1
                path.rmdir()
                while index.height != fed.blocks[-1].height:
                    await index._advanced.wait(0.01)
            assert not index.is_failing
            running.cancel()
        index.close()

    asyncio.run(scenario())


def test_a_search_that_fails_tells_of_it_and_has_the_index_built_anew(
    fed: Fed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("node.index.RETRY_S", 0.02)
    height = fed.blocks[-1].height

    async def scenario() -> None:
        index = fed.index("searched.sqlite", fed.base())
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(index.run())
            async with asyncio.timeout(20):
                while index.height < height:
                    await index.reach(height)
                with index._engine.begin() as connection:
                    connection.exec_driver_sql("DROP TABLE records")
                with pytest.raises(SQLAlchemyError):
                    await index.identifiers("licenses/license", limit=10)
                assert index.is_failing
                while index.is_failing:
                    await index._advanced.wait(0.01)
            assert await index.identifiers("licenses/license", limit=10)
            running.cancel()
        index.close()

    asyncio.run(scenario())
