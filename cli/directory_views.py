"""How `mulu directory` shows entries, what waits, and what is imported, to people."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cli.directory_import import ImportPlan, changed_fields
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
    """Show what waits for approval: what would change of each entry, then all with the hash that an approval names."""
    for entry in entries:
        _show_change(entry)
    show_table(
        "Waiting",
        ("Id", "Action", "Title", "Version"),
        (
            (
                entry["id"],
                entry["pending"]["action"],
                _title(entry),
                entry["pending"]["version"],
            )
            for entry in entries
        ),
    )


def _title(entry: Json) -> object:
    """Return the title of what waits; of what is to be retired, and of what has none, that of what counts."""
    body = entry["pending"].get("body") or {}
    return body.get("name") or body.get("document") or entry.get("title")


def _show_change(entry: Json) -> None:
    """Show the fields in which what waits differs from what counts; all of them where nothing does."""
    pending = entry["pending"]
    old, new = entry.get("effective") or {}, pending.get("body") or {}
    title = f"{entry['id']}: {pending['action']}"
    fields = changed_fields(old, new)
    if not fields:
        say(f"{title}: all fields are as they were.")
    elif old:
        rows = [
            (name.removesuffix("_ms"), *_differing(_shown(old, name), _shown(new, name)))
            for name in fields
        ]
        show_table(title, ("Field", "Counts now", "Waits"), rows)
    else:
        show_table(title, ("Field", "Waits"), with_times(new).items())
    if pending.get("reason"):
        say(f"Reason: {pending['reason']}")


def _shown(version: Json, name: str) -> object:
    (value,) = with_times({name: version.get(name)}).values()
    return value


def _differing(old: object, new: object) -> tuple[object, object]:
    """Return two values of a field; of lists only what is not in the other, and how much is."""
    if not (isinstance(old, list) and isinstance(new, list)):
        return old, new
    return _only_in(old, new), _only_in(new, old)


def _only_in(values: list[Any], others: list[Any]) -> list[Any]:
    differing = [value for value in values if value not in others]
    same = len(values) - len(differing)
    if not differing or not same:  # nothing but the order, or everything
        return values
    return [*differing, f"… and {same} as in the other"]


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
