"""``tierwright catalog import-models``: a list of AI models into the database, or into a document."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tierwright import catalog
from tierwright.catalog import importers
from tierwright.catalog.document import CatalogDocument
from tierwright.catalog.importers import ImportResult
from tierwright.cli import catalog_files, catalog_planning, catalog_report, database, inputs, options, output
from tierwright.cli.catalog_applying import Manner, show_and_apply
from tierwright.cli.catalog_options import AllowLoss, Sample
from tierwright.cli.catalog_progress import progress


def import_models(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The list as it is published; - is standard input.")],
    source: Annotated[str, typer.Option("--from", metavar="LIST", help="Which list it is, such as litellm.")],
    into: Annotated[
        Path | None,
        typer.Option("--into", metavar="DOCUMENT", help="Write the models into this document, not into a database."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the plan, and write nothing.")] = False,
    yes: options.Yes = False,
    allow_loss: AllowLoss = False,
    sample: Sample = catalog_report.SAMPLE,
    actor: options.Actor = None,
    reason: options.Reason = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Import a list of AI models, with a feature for each provider: show the plan, ask, and apply it.

    What people changed by hand stays; models that vanished from the list are retired, and revived when they come back.
    """
    manner = Manner(
        inputs.author(actor, reason), yes=yes, allow_loss=allow_loss, dry_run=dry_run, sample=sample, as_json=as_json
    )
    with output.reported_errors(as_json=as_json), catalog_files.problems_listed(as_json=as_json), progress() as shown:
        importer = importers.find(source)
        found = importer.read(catalog_files.content(file), progress=shown.entries)
        if into is not None:
            _into_document(into, found, importer.name, manner)
            return
        with database.writing(url, schema) as sessions:
            with sessions() as session:
                before = catalog.export(session)
            manner = _reporting(manner, before, found, importer.name)
            document = catalog.import_models(before, found, importer.name)
            show_and_apply(sessions, document, manner, shown.step, made_from=before)


def _into_document(path: Path, found: ImportResult, source: str, manner: Manner) -> None:
    before = catalog_files.document(path) if path.exists() else CatalogDocument()
    after = catalog.import_models(before, found, source)
    manner = _reporting(manner, before, found, source)
    changes = catalog.diff(before, after)
    if not manner.as_json:
        catalog_report.print_changes(changes, manner.sample)
    if changes and not manner.dry_run:
        if path.exists() and not manner.yes:
            typer.confirm(f"Write {output.plain(path)} anew, without its comments?", abort=True, err=True)
        catalog_files.write(path, catalog.dump(after, catalog_files.format_of(path)))
    if manner.as_json:
        written = bool(changes) and not manner.dry_run
        output.print_json(manner.also | {"written": written} | catalog_planning.changes_as_dict(changes))


def _reporting(manner: Manner, before: CatalogDocument, found: ImportResult, source: str) -> Manner:
    """Print the entries that are not imported, or have them printed with the JSON."""
    reported = (*found.reported, *importers.left_alone(before, found, source))
    if manner.as_json:
        return manner.with_also(reported=[each._asdict() for each in reported])
    for key, why in reported[: manner.sample]:
        typer.secho("not imported: ", fg="yellow", nl=False)
        output.line(f"{key}: {why}")
    if len(reported) > manner.sample:
        typer.echo(f"... and {len(reported) - manner.sample:,} more that are not imported")
    return manner
