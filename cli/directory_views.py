"""How `mulu directory` shows entries, what waits, and what is imported, to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.directory_import import ImportPlan
from cli.directory_names import KEY, Mention, with_mentions
from cli.output import say, show_json, show_record, show_table, time_text, with_times
from node.answers import Json


def show_plan(plan: ImportPlan, as_json: bool) -> None:
    """Show what an import would submit."""
    if as_json:
        show_json(plan.document)
        return
    show_table(plan.title, plan.columns, plan.rows)
    for note in plan.notes:
        say(note)


def show_entry(title: str, record: Json, names: Mapping[Mention, str]) -> None:
    """Show an entry for people: what counts, what waits, and its history as a table.

    What it mentions is shown with its name; keys are shortened.
    """

    def told(mention: Mention) -> str:
        kind, code = mention
        shown = _short_key(code) if kind == KEY else code
        return f"{shown} ({names[mention]})" if names.get(mention) else shown

    record = with_mentions(record, told)
    show_record(title, with_times({name: record[name] for name in record if name != "history"}))
    show_table(
        "History",
        ("Number", "Action", "Since", "Block", "Submitted by", "Approved by", "Version"),
        (
            (
                change["number"],
                change["action"],
                time_text(change["time_ms"]),
                change["height"],
                change["submitter"],
                change["approver"],
                change["version"],
            )
            for change in record.get("history", ())
        ),
    )


def _short_key(key: str) -> str:
    """Return how people tell a key: its algorithm and first digits; `--json` has all of it."""
    algorithm, separator, digits = key.partition(":")
    return f"{algorithm}{separator}{digits[:12]}…" if len(digits) > 12 else key


def show_waiting(entries: list[Json]) -> None:
    """Show what waits for approval, with the hash that an approval names."""
    show_table(
        "Waiting",
        ("Id", "Action", "Title", "Version"),
        (
            (
                entry["id"],
                entry["pending"]["action"],
                entry.get("title"),
                entry["pending"]["version"],
            )
            for entry in entries
        ),
    )


def show_tree(tree: Any) -> None:
    """Show what an entry rests on, or what rests on it, as a tree."""
    from rich.text import Text
    from rich.tree import Tree

    from cli.output import console, printable

    def label(entry: Json) -> Text:
        article = entry.get("article")
        parts = [
            entry["collection"],
            entry["id"],
            entry["title"],
            f"article {article}" if article else "",
            "" if entry["status"] == "effective" else f"[{entry['status']}]",
            "… (cut: too large)" if entry["cut"] else "",
        ]
        return Text(printable("  ".join(part for part in parts if part)))

    def grow(branch: Tree, entry: Json) -> None:
        for child in entry.get("children", ()):
            grow(branch.add(label(child)), child)

    root = Tree(label(tree))
    grow(root, tree)
    console().print(root)
