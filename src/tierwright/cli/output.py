"""What the command prints: results, errors, progress."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import typer
from rich.console import Console

from tierwright.errors import ConfigurationError, DatabaseError, InvalidInput, TierwrightError
from tierwright.migrations.options import Progress

REFUSED, USAGE, UNAVAILABLE = 1, 2, 3


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
    typer.echo(json.dumps(data, indent=2, default=str))


@contextmanager
def reported_errors(*, as_json: bool = False) -> Iterator[None]:
    """Print a typed error and leave with its exit code; no traceback, unless ``--debug`` asks for it."""
    try:
        yield
    except TierwrightError as error:
        if settings.debug:
            raise
        _print_error(error, as_json)
        raise typer.Exit(_exit_code(error)) from None


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


def _exit_code(error: TierwrightError) -> int:
    if isinstance(error, ConfigurationError | InvalidInput):
        return USAGE
    return UNAVAILABLE if isinstance(error, DatabaseError) else REFUSED


def _print_error(error: TierwrightError, as_json: bool) -> None:
    if as_json:
        described = {"code": error.code, "message": error.message, "remedy": error.remedy, "details": error.details}
        print_json({"error": described})
        return
    sys.stderr.write(f"{error.code}: {error.message}\n  {error.remedy}\n")
