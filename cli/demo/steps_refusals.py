"""The third part: what the validators refuse, whoever asks and whatever the holder consented to."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from cli.demo import content
from cli.demo.steps_use import ask, receive
from cli.demo.world import StoryError, World
from cli.window import record_operation


def refused_uncovered_matter(world: World) -> list[str]:
    """A matter that nobody has registered covers nothing."""
    case = ask(world, "tianjin", content.UNCOVERED_MATTER, content.LISTED_FIELDS)
    refusal = world.refuse(
        "tianjin-recorder",
        [record_operation(case)],
        "licenses.use.matter_not_covered",
        ask="beijing",
    )
    return [f"matter {content.UNCOVERED_MATTER} is not registered: {refusal}"]


def refused_field(world: World) -> list[str]:
    """A field that the matter does not list stays closed, though the holder consented."""
    case = ask(world, "tianjin", content.MATTER, (*content.LISTED_FIELDS, content.UNLISTED_FIELD))
    refusal = world.refuse(
        "tianjin-recorder",
        [record_operation(case)],
        "licenses.use.field_not_listed",
        ask="hebei",
    )
    return [f"{content.UNLISTED_FIELD} is not on the matter's list: {refusal}"]


def refused_replay(world: World) -> list[str]:
    """The same consent at two nodes at once is recorded once."""
    case = ask(world, "tianjin", content.MATTER, content.LISTED_FIELDS)
    operations = [record_operation(case)]
    nodes = ("tianjin", "national")
    for node in nodes:
        world.client("tianjin-recorder", node)
    with ThreadPoolExecutor(max_workers=2) as pool:
        results = list(
            pool.map(lambda node: world.submit("tianjin-recorder", operations, node), nodes)
        )
    outcomes = sorted((result.status, result.code) for result in results)
    code = "licenses.use.consent_replayed"
    if outcomes != [("committed", ""), ("failed", code)]:
        raise StoryError(f"expected one record and one refusal, got {outcomes}")
    recorded = next(result for result in results if result.status == "committed")
    refused = next(result for result in results if result.status == "failed")
    receive(world, case)
    return [
        f"one consent sent to {' and '.join(nodes)} at once: recorded once, {code} once",
        "recorded: " + world.shown_by(recorded.id, "beijing"),
        "refused: " + world.shown_by(refused.id, "hebei", code=code),
    ]


def refused_not_entrusted(world: World) -> list[str]:
    """A centre that the department has not entrusted cannot accept its matters."""
    case = ask(world, "hebei", content.MATTER, content.LISTED_FIELDS)
    refusal = world.refuse(
        "hebei-recorder",
        [record_operation(case)],
        "licenses.use.not_entrusted",
        ask="tianjin",
    )
    return [f"{content.OTHER_CENTRE.name} is not entrusted: {refusal}"]
