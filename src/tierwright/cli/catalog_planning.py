"""Plans for machines: as JSON that is written outcome by outcome, and kept in a file to be applied later."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import chain, repeat
from typing import Any

import typer
from sqlalchemy.orm import Session

from tierwright.catalog.differences import Change
from tierwright.catalog.plan import Plan
from tierwright.catalog.plan_json import change_json, plan_json


def print_json(session: Session, plan: Plan) -> None:
    """Print a plan with every decision that would change: too many for memory, perhaps."""
    encode = json.JSONEncoder(ensure_ascii=True).encode
    typer.echo("{")
    for name, value in plan_json(plan).items():
        typer.echo(f"  {encode(name)}: {encode(value)},")
    typer.echo('  "outcomes": [', nl=False)
    separators = chain(["\n"], repeat(",\n"))
    for separator, outcome in zip(separators, plan.iterate(session), strict=False):
        typer.echo(f"{separator}    {encode(outcome.to_json())}", nl=False)
    typer.echo("\n  ]\n}")


def as_dict(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON, with samples of the decisions that would change."""
    return plan_json(plan)


def changes_as_dict(changes: Sequence[Change] | Iterable[Change]) -> dict[str, Any]:
    """Return changes as plain JSON."""
    return {"changes": [change_json(change) for change in changes]}
