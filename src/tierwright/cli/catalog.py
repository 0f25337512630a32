"""``tierwright catalog``: the catalogue as code."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tierwright import catalog
from tierwright.cli import (
    catalog_applying,
    catalog_files,
    catalog_import,
    catalog_planning,
    catalog_report,
    database,
    inputs,
    options,
    output,
)
from tierwright.cli.catalog_options import AllowLoss, ExitCode, File, Prune, Sample
from tierwright.cli.catalog_progress import progress

app = typer.Typer(
    help="Keep the catalogue in files: see what a change does to tenants, then apply it.",
    no_args_is_help=True,
    rich_markup_mode=None,
)

DIFFERENT = 4  # with --exit-code; beside the exit codes of the package


@app.command("schema")
def print_schema() -> None:
    """Print the JSON Schema of documents, for editors."""
    output.print_json(catalog.schema())


@app.command()
def plan(
    file: File,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="PLAN", help="Write the plan to a file, for apply --plan.")
    ] = None,
    prune: Prune = False,
    at: options.At = None,
    sample: Sample = catalog_report.SAMPLE,
    exit_code: ExitCode = False,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Show what applying FILE would change, and which tenants would gain and lose what; changes nothing."""
    with output.reported_errors(as_json=as_json), catalog_files.problems_listed(as_json=as_json), progress() as shown:
        document = catalog_files.document(file)
        moment = inputs.moment(at)
        with database.reading_session(url, schema) as session:
            shown.step("planning")
            made = catalog.plan(session, document, prune=prune, at=moment, sample=sample)
            shown.step("")
            if save is not None:
                catalog_files.write(save, made.to_json())
            if as_json:
                catalog_planning.print_json(session, made)
            else:
                catalog_report.print_plan(made, sample)
    if exit_code and made.changes:
        raise typer.Exit(DIFFERENT)


app.command("preview", help="The same as plan.")(plan)


@app.command()
def apply(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="As for plan; not needed with --plan.")] = None,
    planned: Annotated[
        Path | None,
        typer.Option("--plan", metavar="PLAN", help="Apply a plan that plan --save wrote; does not ask."),
    ] = None,
    yes: options.Yes = False,
    allow_loss: AllowLoss = False,
    prune: Prune = False,
    sample: Sample = catalog_report.SAMPLE,
    actor: options.Actor = None,
    reason: options.Reason = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the plan, ask, and apply it in one transaction, if the catalogue is still the one that was planned for."""
    by = inputs.author(actor, reason)
    manner = catalog_applying.Manner(by, yes=yes, allow_loss=allow_loss, prune=prune, sample=sample, as_json=as_json)
    with output.reported_errors(as_json=as_json), catalog_files.problems_listed(as_json=as_json), progress() as shown:
        if planned is not None:
            made, document = catalog_applying.planned(planned, file, prune=prune)
            with database.writing(url, schema) as sessions:
                catalog_applying.apply_planned(sessions, made, document, manner, shown.step)
            return
        document = catalog_files.document(catalog_applying.required(file, manner))
        with database.writing(url, schema) as sessions:
            catalog_applying.show_and_apply(sessions, document, manner, shown.step)


@app.command()
def export(
    file: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; standard output unless given.")
    ] = None,
    format: Annotated[
        catalog_files.Format | None, typer.Option("--format", help="As the file's name says, or YAML, unless given.")
    ] = None,
    url: options.Url = None,
    schema: options.Schema = None,
) -> None:
    """Write the database's catalogue as a document; a plan for it finds no difference."""
    with output.reported_errors():
        kind = format or catalog_files.format_of(file)
        with database.reading_session(url, schema) as session:
            text = catalog.dump(catalog.export(session), kind)
        if file is None:
            typer.echo(text, nl=False)
        else:
            catalog_files.write(file, text)


@app.command()
def diff(
    file: File,
    other: Annotated[Path, typer.Argument(metavar="OTHER", help="Likewise: what FILE is compared with.")],
    sample: Sample = catalog_report.SAMPLE,
    exit_code: ExitCode = False,
    as_json: options.AsJson = False,
) -> None:
    """Show what makes the document FILE into OTHER; asks no database."""
    with output.reported_errors(as_json=as_json), catalog_files.problems_listed(as_json=as_json):
        changes = catalog.diff(catalog_files.document(file), catalog_files.document(other))
    if as_json:
        output.print_json(catalog_planning.changes_as_dict(changes))
    else:
        catalog_report.print_changes(changes, sample)
    if exit_code and changes:
        raise typer.Exit(DIFFERENT)


app.command("import-models")(catalog_import.import_models)
