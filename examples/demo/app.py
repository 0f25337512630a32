"""The demo from start to end."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text
from sqlalchemy.engine import Engine
from sqlalchemy.exc import DBAPIError

from examples.demo.database import fresh_file, in_schema, is_missing, open_database
from examples.demo.decisions import decide
from examples.demo.loading import DemoRefused, Loaded, find, load
from examples.demo.queries import Answer, ask, questions
from examples.demo.report import Report, console
from tierwright.errors import TierwrightError
from tierwright.migrations import current, upgrade
from tierwright.services.explanation import Explanation

FILE = "demo.sqlite3"


class PlanWithoutIndex(Exception):
    """A question was answered without the index that is there for it."""


@dataclass(frozen=True)
class Outcome:
    """What a run of the demo did: what is loaded, the four answers, and the decisions."""

    loaded: Loaded
    answers: tuple[Answer, ...]
    decisions: tuple[Explanation, ...]


def main(arguments: Sequence[str] | None = None, out: Console | None = None) -> int:
    """Run the demo and return its exit code: 0, or 1 with what went wrong on the console.

    Args:
        arguments: the command line, without the program's name; that of the process unless given.
        out: where to print; standard output unless given.
    """
    out = out or console()
    options = _parser().parse_args(arguments)
    try:
        engine = open_database(options.url or fresh_file(Path(FILE)))
        run(engine, out, options.schema)
    except (DemoRefused, PlanWithoutIndex, TierwrightError) as error:
        return _failed(out, str(error))
    except DBAPIError as error:
        return _failed(out, f"The database said: {error.orig}")
    return 0


def run(engine: Engine, out: Console, schema: str | None = None) -> Outcome:
    """Upgrade, load, ask and decide on ``engine``.

    Args:
        engine: a database whose tables of ours are absent, empty, or as an earlier run left them.
        out: where to print.
        schema: PostgreSQL schema; the connection's own unless given.

    Raises:
        DemoRefused: the tables hold rows that are not the demo's.
        PlanWithoutIndex: the database answers a question without its index.
        TierwrightError: the upgrade failed.
    """
    report = Report(out)
    report.title(engine.url.render_as_string(hide_password=True) + (f", schema {schema}" if schema else ""))
    with report.step(1, "Upgrade to head"):
        _upgrade(engine, report, schema)
    with report.step(2, "Load a real catalogue"):
        loaded = load(in_schema(engine, schema), schema)
        report.loaded(loaded)
    with report.step(3, "Ask the four questions"):
        answers = _answers(in_schema(engine, schema), report, loaded)
    slow = [answer.question.index for answer in answers if not answer.uses_index]
    if slow:
        raise PlanWithoutIndex(f"Not every plan uses its index: {', '.join(slow)}. See the plans above.")
    out.print(Text("All four were answered through their index.", "bold green"))
    with report.step(4, "Ask who may use what, and why"):
        decisions = tuple(report.decision(about, found) for about, found in decide(in_schema(engine, schema)))
    return Outcome(loaded, answers, decisions)


def _upgrade(engine: Engine, report: Report, schema: str | None) -> None:
    before = None
    if not is_missing(engine):
        before = current(engine, schema=schema)
        with in_schema(engine, schema).connect() as connection:
            find(connection, schema)  # refuses before anything is changed
    upgrade(engine, schema=schema, progress=lambda step: report.line(step, "dim"))
    report.line(f"{before or 'empty'} → {current(engine, schema=schema)}", "bold")


def _answers(engine: Engine, report: Report, loaded: Loaded) -> tuple[Answer, ...]:
    answers = []
    with engine.connect() as connection:
        for question in questions(connection, loaded.at):
            answers.append(ask(connection, question))
            report.answer(answers[-1])
    return tuple(answers)


def _failed(out: Console, message: str) -> int:
    out.print(Text.assemble(("\nThe demo stopped. ", "bold red"), message))
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m examples.demo", description="tierwright's main job on real input.")
    parser.add_argument(
        "--url",
        default=os.environ.get("DATABASE_URL"),
        help=f"database to use (default: DATABASE_URL, or a fresh SQLite file {FILE} in this folder)",
    )
    parser.add_argument(
        "--schema",
        default=os.environ.get("TIERWRIGHT_SCHEMA"),
        help="PostgreSQL schema (default: TIERWRIGHT_SCHEMA, or the connection's own)",
    )
    return parser
