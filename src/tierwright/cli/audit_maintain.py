"""``tierwright audit maintain|verify|restore``: a history that grows, and what was archived of it."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from tierwright.audit import Restored, Upkeep, UpkeepReport, restore_archive, verify_archive
from tierwright.audit import maintain as run_upkeep
from tierwright.audit.restoring import make_room
from tierwright.cli import database, inputs, options, output
from tierwright.services.audit import AuditContext, write_audit
from tierwright.services.transactions import run_in_transaction
from tierwright.types import AuditAction, AuditEntity

Archives = Annotated[list[Path], typer.Argument(metavar="ARCHIVE", help="Files of archives, .jsonl.gz; any number.")]
_DROPS = "--delete-history-without-archive"


def maintain(
    keep_months: Annotated[
        int | None,
        typer.Option(
            "--keep-months",
            min=1,
            max=1200,
            envvar="TIERWRIGHT_AUDIT_KEEP_MONTHS",
            show_envvar=True,
            help="So many months before this one stay in the database; all of them unless given.",
        ),
    ] = None,
    archive: Annotated[
        Path | None,
        typer.Option(
            "--archive",
            metavar="FOLDER",
            envvar="TIERWRIGHT_AUDIT_ARCHIVE",
            show_envvar=True,
            help="Where archives of older months go.",
        ),
    ] = None,
    drop_unarchived: Annotated[
        bool, typer.Option(_DROPS, help="Delete older months for ever, without an archive of them.")
    ] = False,
    ahead: Annotated[
        int, typer.Option("--ahead", min=1, max=120, help="PostgreSQL: for so many months there are partitions.")
    ] = 3,
    most_moved: Annotated[
        int,
        typer.Option("--most-moved", min=0, help="PostgreSQL: move rows without a month only if there are no more."),
    ] = 100_000,
    batch_size: Annotated[
        int, typer.Option("--batch-size", min=1, max=10_000, help="SQLite: rows deleted in a transaction.")
    ] = 1000,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and do nothing.")] = False,
    actor: options.Actor = None,
    url: options.Url = None,
    schema: options.Schema = None,
    lock_timeout: options.LockTimeout = options.DEFAULT_LOCK_TIMEOUT,
    lock_wait: options.LockWait = options.DEFAULT_LOCK_WAIT,
    as_json: options.AsJson = False,
) -> None:
    """Look after the history: partitions ahead, older months into archives and out of the database. Run it daily.

    Exit code 1 if something is left: rows that came meanwhile, older months without --archive, rows without a month.
    """
    with output.reported_errors(as_json=as_json):
        upkeep = Upkeep(
            ahead=ahead,
            keep_months=keep_months,
            folder=archive,
            drop_unarchived=drop_unarchived,
            dry_run=dry_run,
            most_moved=most_moved,
            batch_size=batch_size,
            lock_timeout=lock_timeout,
            lock_wait=lock_wait,
            actor=inputs.author(actor, None).actor,
        )
        with database.writing(url, schema) as sessions, output.progress() as progress:
            report = run_upkeep(sessions.kw["bind"], upkeep, progress)
    if as_json:
        output.print_json({"ok": report.ok, "dry_run": dry_run, **asdict(report)})
    else:
        _print(report, dry_run)
    raise typer.Exit(0 if report.ok else output.REFUSED)


def verify(archives: Archives, as_json: options.AsJson = False) -> None:
    """Check that archives are what their manifests say; needs no database. Exit code 1 at the first that is not."""
    with output.reported_errors(as_json=as_json):
        found = [verify_archive(path) for path in archives]
    if as_json:
        output.print_json({"archives": [each.as_dict() for each in found]})
        return
    for each in found:
        output.line(each.file, f"{each.rows:,} rows", f"{each.first} to {each.last}", widths=(40, 14))


def restore(
    archives: Archives,
    actor: options.Actor = None,
    reason: options.Reason = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Write the rows of archives into the history again; rows that are there stay as they are.

    Each archive is verified, and restored in a transaction of its own. That it was restored is recorded.
    """
    done: list[Restored] = []
    with output.reported_errors(as_json=as_json):
        context = inputs.author(actor, reason)
        for path in archives:
            verify_archive(path)
        with database.writing(url, schema) as sessions:
            for path in archives:
                make_room(sessions.kw["bind"], path)
                done.append(run_in_transaction(sessions, partial(_restore, path=path, context=context)))
    if as_json:
        listed = [{"file": each.manifest.file, "rows": each.rows, "present": each.present} for each in done]
        output.print_json({"restored": listed})
        return
    for each in done:
        there = f"{each.present:,} were there" if each.present else ""
        output.line(each.manifest.file, f"{each.rows:,} rows", there, widths=(40, 14))


def _restore(session: Any, path: Path, context: AuditContext) -> Restored:
    found = restore_archive(session, path)
    new = {"file": found.manifest.file, "sha256": found.manifest.sha256, "rows": found.rows}
    write_audit(session, context, AuditEntity.CATALOG, "feature_audit_log", AuditAction.RESTORED, new=new)
    return found


def _print(report: UpkeepReport, dry_run: bool) -> None:
    would = "would be " if dry_run else ""
    for name in report.partitions:
        output.line(f"partition {name} made")
    if report.moved:
        output.line(f"{report.moved:,} rows moved into months of theirs")
    if report.freed:
        output.line(f"a row that keeps every further one out {'would be' if dry_run else 'was'} given another rowid")
    for archive in report.archives:
        what = archive.file or ("archived" if dry_run else "no archive")
        output.line(archive.month, f"{archive.rows:,} rows", f"{would}{what}", widths=(8, 14))
    for name in report.dropped:
        output.line(f"partition {name} dropped")
    if report.removed:
        output.line(f"{report.removed:,} rows left the database; the history begins at {report.floor:%Y-%m-%d}")
    if report.due:
        typer.echo(f"{report.due:,} rows are older than they are kept: name --archive FOLDER", err=True)
    if report.left:
        typer.echo(f"{report.left:,} rows came or were changed meanwhile: run it again", err=True)
    if report.unmoved:
        typer.echo(f"{report.unmoved:,} rows have no month{'' if dry_run else '; see --most-moved'}", err=True)
    if report.ok and not (report.partitions or report.archives or report.moved or report.freed):
        output.line("nothing to do")
