"""What the command prints: results, errors, progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from typing import Any

import typer
from rich.console import Console

from tierwright.errors import (
    ConfigurationError,
    DatabaseError,
    EntitlementsUnavailable,
    InvalidInput,
    RetryTransaction,
    TierwrightError,
)
from tierwright.migrations.options import Progress

REFUSED, USAGE, UNAVAILABLE = 1, 2, 3
_LONGEST_LITERAL = 60


@dataclass
class Settings:
    """What the root command was told."""

    debug: bool = False


settings = Settings()


def console(*, stderr: bool = False) -> Console:
    """Return a console on the stream as it is now; wide where nobody looks, so that no line is broken."""
    made = Console(stderr=stderr, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made = Console(stderr=stderr, highlight=False, width=200)
    return made


def print_json(data: Any) -> None:
    """Print one JSON document on standard output."""
    typer.echo(json.dumps(data, indent=2, default=json_text))


def json_text(value: Any) -> str:
    """Return the JSON text of what JSON has no type for: moments in ISO 8601, exact numbers and ids as they are."""
    return value.isoformat() if isinstance(value, date) else str(value)


def plain(text: object) -> str:
    """Return text as it can stand in a line of any terminal: what is not printable is escaped."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in str(text)
    )


def literal(value: Any) -> str:
    """Return a value as short JSON, for people."""
    text = plain(json.dumps(value, ensure_ascii=False, default=json_text))
    return text if len(text) <= _LONGEST_LITERAL else f"{text[: _LONGEST_LITERAL - 3]}..."


def line(*cells: object, widths: tuple[int, ...] = ()) -> None:
    """Print one line; the first cells are padded to ``widths``."""
    texts = [plain(cell) for cell in cells]
    padded = [text.ljust(width) for text, width in zip(texts, widths, strict=False)] + texts[len(widths) :]
    typer.echo("  ".join(padded).rstrip())


@contextmanager
def reported_errors(*, as_json: bool = False, refused: int = REFUSED) -> Iterator[None]:
    """Print a typed error and leave with its exit code; no traceback, unless ``--debug`` asks for it.

    Args:
        as_json: print it as JSON on standard output.
        refused: the exit code of what is neither wrong usage nor an unusable database.
    """
    try:
        yield
    except TierwrightError as error:
        if settings.debug:
            raise
        _print_error(error, as_json)
        raise typer.Exit(_exit_code(error, refused)) from None


@contextmanager
def progress() -> Iterator[Progress]:
    """Yield a function that shows the step that is running, and how long it has been."""
    shown = console(stderr=True)
    if not shown.is_terminal:
        yield lambda step: typer.echo(step, err=True)
        return
    started = time.monotonic()
    with shown.status("starting") as status:

        def show(step: str) -> None:
            shown.print(f"[dim]{time.monotonic() - started:7.1f} s[/dim]  {step}")
            status.update(step)

        yield show


def _exit_code(error: TierwrightError, refused: int) -> int:
    if isinstance(error, ConfigurationError | InvalidInput):
        return USAGE
    return UNAVAILABLE if isinstance(error, DatabaseError | EntitlementsUnavailable | RetryTransaction) else refused


def _print_error(error: TierwrightError, as_json: bool) -> None:
    if as_json:
        described = {"code": error.code, "message": error.message, "remedy": error.remedy, "details": error.details}
        print_json({"error": described})
        return
    sys.stderr.write(f"{error.code}: {error.message}\n  {error.remedy}\n")
