"""The log of a process: one line an event to standard output, JSON for machines, or text for people."""

from __future__ import annotations

import logging

import structlog


def configure_logging(level: str = "info", line_format: str = "json") -> None:
    """Configure it for this process; `level` and `line_format` are those of config.toml's table `log`."""
    renderer: structlog.typing.Processor = (
        structlog.processors.JSONRenderer(ensure_ascii=False)
        if line_format == "json"
        else structlog.dev.ConsoleRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        cache_logger_on_first_use=False,
    )
    logging.basicConfig(level=logging.WARNING)


def _escape(_: object, __: str, event: structlog.typing.EventDict) -> structlog.typing.EventDict:
    """Write what is not printable as escapes: names and reasons come from others, and terminals obey them."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            kept = "\n" if key == "exception" else ""
            event[key] = "".join(
                one if one.isprintable() or one in kept else ascii(one)[1:-1] for one in value
            )
    return event
