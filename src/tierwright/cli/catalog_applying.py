"""Applying a plan: shown, asked for, then written in one transaction in somebody's name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import typer
from sqlalchemy.orm import Session, sessionmaker

from tierwright import catalog
from tierwright.catalog import ApplyResult, CatalogDocument, Plan
from tierwright.cli import catalog_files, catalog_planning, catalog_report, output
from tierwright.errors import ConfigurationError
from tierwright.services.audit import AuditContext
from tierwright.services.transactions import run_in_transaction

#: Shows that something takes long, and with "" that it is over.
Step = Callable[[str], None]
Sessions = sessionmaker[Session]


@dataclass(frozen=True)
class Manner:
    """How a plan is applied.

    Attributes:
        by: who writes, and why.
        yes: whether nobody is asked.
        allow_loss: whether tenants may have less afterwards.
        dry_run: whether the plan is only shown.
        prune: whether what left the document is deleted.
        sample: how many of each kind are shown.
        as_json: whether machines read it.
        also: what the JSON says besides.
    """

    by: AuditContext
    yes: bool = False
    allow_loss: bool = False
    dry_run: bool = False
    prune: bool = False
    sample: int = catalog_report.SAMPLE
    as_json: bool = False
    also: dict[str, Any] = field(default_factory=dict)

    def with_also(self, **said: Any) -> Manner:
        """Return the same with more for the JSON."""
        return replace(self, also={**self.also, **said})


def required(file: Path | None, manner: Manner) -> Path:
    """Return the document's file.

    Raises:
        ConfigurationError: there is none, or a question would be asked of the document itself.
    """
    if file is None:
        raise ConfigurationError("No document was named.", remedy="Name a file, or give a saved plan with --plan.")
    if file == catalog_files.STDIN and not manner.yes:
        raise ConfigurationError(
            "Standard input has the document, so it cannot answer a question.", remedy="Pass --yes."
        )
    return file


def planned(saved: Path, file: Path | None, *, prune: bool) -> tuple[Plan, CatalogDocument | None]:
    """Return a saved plan, and the document that it must have been made from, if one is named.

    Raises:
        InvalidInput: this is no plan.
        ConfigurationError: an option contradicts the plan.
        DocumentInvalid: the document is bad.
    """
    made = Plan.from_json(catalog_files.read(saved, "plan"))
    if prune and not made.prune:
        raise ConfigurationError("The plan was made without --prune.", remedy="Plan again with --prune.")
    return made, None if file is None else catalog_files.document(file)


def show_and_apply(
    sessions: Sessions,
    document: CatalogDocument,
    manner: Manner,
    step: Step,
    made_from: CatalogDocument | None = None,
) -> None:
    """Plan, show the plan, ask, and apply it.

    Args:
        sessions: make sessions that write.
        document: the catalogue that is wanted.
        manner: how.
        step: told what is being done.
        made_from: the catalogue that the document was made from. If it is another one by now, nothing is done: the
            document would undo what somebody else has just written.

    Raises:
        CatalogChanged: the catalogue was changed after the document was made, or after the plan was shown.
        LossRefused, WriteRefused, InvalidInput: as :func:`tierwright.catalog.apply` says.
    """
    step("planning")
    with sessions() as session:
        plan = catalog.plan(session, document, prune=manner.prune, sample=manner.sample)
    if made_from is not None:
        plan.refuse_other_base(made_from.hash())
    step("")
    if not manner.as_json:
        catalog_report.print_plan(plan, manner.sample, allow_loss=manner.allow_loss)
    if manner.dry_run or not plan.changes:
        _report(plan, None, manner)
        return
    # What is refused anyway needs no question first.
    if not manner.yes and (manner.allow_loss or not plan.effect.takes_away):
        typer.confirm("Apply this?", abort=True, err=True)
    _apply(sessions, plan, None, manner, step)


def apply_planned(sessions: Sessions, plan: Plan, document: CatalogDocument | None, manner: Manner, step: Step) -> None:
    """Apply a plan that was reviewed: show it, but do not ask."""
    if not manner.as_json:
        catalog_report.print_plan(plan, manner.sample, allow_loss=manner.allow_loss)
    _apply(sessions, plan, document, manner, step)


def _apply(sessions: Sessions, plan: Plan, document: CatalogDocument | None, manner: Manner, step: Step) -> None:
    def transaction(session: Session) -> ApplyResult:
        manner.by.attach(session)
        return catalog.apply(session, plan, document=document, allow_loss=manner.allow_loss, sample=manner.sample)

    step("applying")
    result = run_in_transaction(sessions, transaction)
    step("")
    _report(plan, result, manner)


def _report(plan: Plan, result: ApplyResult | None, manner: Manner) -> None:
    applied = result is not None and result.changed
    if manner.as_json:
        output.print_json({**manner.also, "applied": applied, **catalog_planning.as_dict(plan)})
    elif applied:
        typer.secho("applied", fg="green", bold=True)
    elif plan.changes:
        typer.echo("nothing was written")
