"""``tierwright tier move``: the tenants of one tier get another; shown and asked for first."""

from __future__ import annotations

from typing import Annotated

import typer
from sqlalchemy.orm import Session, sessionmaker

from tierwright import catalog
from tierwright.catalog import Move, MoveReport
from tierwright.cli import catalog_report, database, inputs, options, output
from tierwright.cli.catalog_progress import Shown, progress

_SAMPLE = 20


def move(
    tier: options.TierKey,
    to: Annotated[str, typer.Argument(metavar="TO", help="The key of the tier that they shall have.")],
    deleted: Annotated[bool, typer.Option("--deleted", help="The deleted tier that had the key TIER.")] = False,
    tier_id: Annotated[str | None, typer.Option("--id", help="Which one, where several deleted tiers had it.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would happen.")] = False,
    allow_loss: Annotated[bool, typer.Option("--allow-loss", help="Tenants may have less afterwards.")] = False,
    batch_size: Annotated[int, typer.Option("--batch-size", min=1, help="Licences in a transaction.")] = 200,
    yes: options.Yes = False,
    actor: options.Actor = None,
    reason: options.Reason = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Move the tenants that hold TIER to another one; stopped, it goes on where it was when it is run again."""
    with output.reported_errors(as_json=as_json), database.writing(url, schema) as sessions, progress() as shown:
        which = inputs.uuid("--id", tier_id)
        planned = _planned(sessions, shown, tier, to, is_deleted=deleted, tier_id=which)
        if not as_json:
            _print(planned, allow_loss=allow_loss)
        report = None
        if not dry_run and planned.licenses:
            if not yes and (allow_loss or not planned.effect.takes_away):
                typer.confirm(f"Move {planned.licenses:,} licence(s)?", abort=True, err=True)
            by = inputs.author(actor, reason)
            report = catalog.move_tenants(
                sessions,
                tier,
                to,
                is_deleted=deleted,
                tier_id=which,
                allow_loss=allow_loss,
                batch_size=batch_size,
                actor=by.actor,
                reason=by.reason,
                progress=lambda moved: shown.entries(min(moved, planned.licenses), planned.licenses),
            )
    if as_json:
        output.print_json({**planned.to_json(), "moved": report.moved if report else 0})
    elif report is not None:
        _print_report(report)
    if report is not None and report.remaining:
        raise typer.Exit(output.REFUSED)


def _planned(sessions: sessionmaker[Session], shown: Shown, tier: str, to: str, **which: object) -> Move:
    shown.step("looking at the tenants")
    with sessions() as session:
        found = catalog.plan_move(session, tier, to, sample=_SAMPLE, **which)  # type: ignore[arg-type]  # as declared
    shown.step("")
    return found


def _print(planned: Move, *, allow_loss: bool) -> None:
    deleted = ", which was deleted," if planned.source.is_deleted else ""
    output.line(
        f"{planned.licenses:,} licence(s) for {planned.source.key}{deleted} become ones for {planned.target.key}"
    )
    of_loss = catalog_report.ALLOWED if allow_loss else "it is refused without --allow-loss"
    catalog_report.print_effect(planned.effect, _SAMPLE, of_loss)


def _print_report(report: MoveReport) -> None:
    typer.secho(f"moved {report.moved:,} licence(s)", fg="green", bold=True)
    if report.remaining:
        output.line(f"{report.remaining:,} more were given meanwhile: run it again")
