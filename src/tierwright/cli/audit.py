"""``tierwright audit``: what was changed, when, by whom and why."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated
from uuid import UUID

import typer
from sqlalchemy.orm import Session

from tierwright.audit import AuditEntry, AuditLog, AuditPage, AuditQuestion, erase_person
from tierwright.cli import audit_options as asked
from tierwright.cli import database, inputs, options, output
from tierwright.cli.audit_formats import Format, LeftOut, as_dict, print_entry, print_line, write_entries
from tierwright.errors import InvalidInput
from tierwright.types import utc_now

app = typer.Typer(
    help="The history: what was changed, when, by whom and why.", no_args_is_help=True, rich_markup_mode=None
)

#: A transaction that was begun so long ago may still commit entries of its time.
_LATE = timedelta(minutes=5)
_PAUSE = 2.0


@app.command("list")
def list_(
    tenant: asked.Tenant = None,
    feature: asked.Feature = None,
    entity: asked.Entity = None,
    actor: asked.Actor = None,
    action: asked.Action = None,
    since: asked.Since = None,
    until: asked.Until = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="At most so many.")] = 50,
    cursor: Annotated[
        str | None, typer.Option("--cursor", metavar="TEXT", help="Go on where the list before has ended.")
    ] = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """List changes, the newest first."""
    with output.reported_errors(as_json=as_json):
        question = asked.question(tenant, feature, entity, actor, action, since, until)
        with database.reading_session(url, schema) as session:
            page = AuditLog(session).page(question, limit=limit, cursor=cursor)
    if as_json:
        unreadable = [{"columns": row.columns, "sql": row.sql} for row in page.unreadable]
        entries = [as_dict(entry) for entry in page.entries]
        output.print_json({"entries": entries, "next": page.next, "unreadable": unreadable})
        return
    for entry in page.entries:
        print_entry(entry)
    _tell(page, LeftOut())
    if page.next is not None:
        typer.echo(f"There are more: --cursor {page.next}", err=True)
    elif not page.entries and not page.unreadable:
        typer.echo("none", err=True)


@app.command()
def tail(
    tenant: asked.Tenant = None,
    feature: asked.Feature = None,
    entity: asked.Entity = None,
    actor: asked.Actor = None,
    action: asked.Action = None,
    lines: Annotated[int, typer.Option("-n", "--lines", min=0, max=1000, help="So many to begin with.")] = 20,
    follow: Annotated[bool, typer.Option("-f", "--follow", help="Go on, until Ctrl-C.")] = False,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the newest changes, the newest last; --json prints one a line.

    --follow misses what a transaction commits more than five minutes after it wrote it.
    """
    show = print_line if as_json else print_entry
    with output.reported_errors(as_json=as_json):
        question = asked.question(tenant, feature, entity, actor, action, None, None)
        with database.reading_session(url, schema) as session:
            # Looked at before the newest, so that nothing is missed between the two.
            known = _recent(session, question, utc_now(), LeftOut()) if follow else {}
            page = AuditLog(session).page(question, limit=max(lines, 1))
            left_out = LeftOut(sys.maxsize)  # who follows sees no end
            _tell(page, left_out)
            for entry in reversed(page.entries[:lines]):
                show(entry)
            if follow:
                known.update((entry.id, entry) for entry in page.entries)
                for entry in _following(session, question, known, left_out):
                    show(entry)


@app.command()
def export(
    to: Annotated[
        Path | None, typer.Option("--to", metavar="FILE", help="Write a new file; else standard output.")
    ] = None,
    format_: Annotated[Format, typer.Option("--format", help="One JSON object a line, or a table.")] = Format.JSONL,
    tenant: asked.Tenant = None,
    feature: asked.Feature = None,
    entity: asked.Entity = None,
    actor: asked.Actor = None,
    action: asked.Action = None,
    since: asked.Since = None,
    until: asked.Until = None,
    url: options.Url = None,
    schema: options.Schema = None,
) -> None:
    """Write changes to a file, the oldest first; CSV cannot make a spreadsheet calculate.

    Exit code 1 if rows that cannot be read were left out.
    """
    left_out = LeftOut()
    with output.reported_errors():
        question = asked.question(tenant, feature, entity, actor, action, since, until)
        with database.reading_session(url, schema) as session:
            entries = AuditLog(session).stream(replace(question, oldest_first=True), unreadable=left_out)
            count = write_entries(entries, format_, to)
    left_out.close()
    typer.echo(f"{count:,} entries", err=True)
    raise typer.Exit(output.REFUSED if left_out else 0)


@app.command()
def erase(
    person: Annotated[str | None, typer.Option("--person", metavar="ACTOR", help="As the history names them.")] = None,
    ip_address: Annotated[
        str | None, typer.Option("--ip-address", help="An address, where no person is named.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, and change nothing.")] = False,
    yes: options.Yes = False,
    actor: options.Actor = None,
    reason: options.Reason = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Take a person out of the history; what was done stays. Exit code 1 if nobody of that name is in it."""
    with output.reported_errors(as_json=as_json):
        if (person is None) == (ip_address is None):
            raise InvalidInput("Exactly one is to be named.", remedy="Give --person or --ip-address.")
        by = inputs.author(actor, reason)
        with database.writing(url, schema) as sessions:
            found = erase_person(sessions, actor=person, ip_address=ip_address, by=by, dry_run=True)
            if not dry_run and found.total:
                if not yes:
                    typer.confirm(f"This cannot be undone: {found.total} row(s). Go on?", abort=True, err=True)
                found = erase_person(sessions, actor=person, ip_address=ip_address, by=by)
    if as_json:
        output.print_json({"rows": dict(found.rows), "dry_run": dry_run})
    else:
        for table, rows in found.rows.items():
            output.line(f"  {table}", f"{rows} row(s)", widths=(30,))
    raise typer.Exit(0 if found.total else output.REFUSED)


def _tell(page: AuditPage, left_out: LeftOut) -> None:
    for row in page.unreadable:
        left_out(row)
    left_out.close()


def _following(
    session: Session, question: AuditQuestion, known: dict[UUID, AuditEntry], left_out: LeftOut
) -> Iterator[AuditEntry]:
    """Yield what is recorded from now on, also what a long transaction commits late."""
    started, latest = utc_now(), None
    while True:
        latest = _newest(known, latest)
        session.rollback()  # each look has a snapshot of its own
        recent = _recent(session, question, latest or started, left_out)
        yield from (entry for id_, entry in recent.items() if id_ not in known)
        known = recent
        time.sleep(_PAUSE)


def _newest(known: dict[UUID, AuditEntry], before: datetime | None) -> datetime | None:
    """Return when the newest entry was recorded; what is dated ahead of our clock must not hide what comes."""
    now = utc_now()
    moments = [min(entry.performed_at, now) for entry in known.values()]
    return max(moments if before is None else [*moments, before], default=None)


def _recent(session: Session, question: AuditQuestion, latest: datetime, left_out: LeftOut) -> dict[UUID, AuditEntry]:
    asked = replace(question, since=latest - _LATE, oldest_first=True)
    return {entry.id: entry for entry in AuditLog(session).stream(asked, unreadable=left_out)}
