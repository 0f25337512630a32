"""``tierwright doctor``: is the database what the application relies on?"""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table

from tierwright.cli import options, output
from tierwright.doctor import Report, Severity, examine


def doctor(
    url: options.Url = None,
    schema: options.Schema = None,
    version_table: options.VersionTable = options.DEFAULT_VERSION_TABLE,
    as_json: options.AsJson = False,
    schema_only: Annotated[bool, typer.Option("--schema-only", help="Do not read the rows.")] = False,
) -> None:
    """Check schema, revision and rows; exit code 1 if anything needs a remedy."""
    with output.reported_errors(as_json=as_json):
        report = examine(options.required(url), schema=schema, version_table=version_table, rows=not schema_only)
    if as_json:
        output.print_json(report.as_dict())
    else:
        _print(report)
    raise typer.Exit(0 if report.ok else output.REFUSED)


def _print(report: Report) -> None:
    console = output.console()
    checked = ", ".join(f"{count} {kind}" for kind, count in report.checked.items() if count)
    console.print(f"{report.dialect} at {report.current or 'no revision'}: checked {checked}")
    if report.findings:
        table = Table("", "finding", "object", "what was found, and the remedy", show_lines=True)
        for finding in report.findings:
            text = f"{finding.message}\n{finding.remedy}" + (f"\n{finding.sql}" if finding.sql else "")
            colour = "red" if finding.severity is Severity.ERROR else "blue"
            # Names and values come from the database: they must not be read as markup.
            table.add_row(f"[{colour}]{finding.severity}[/]", finding.code, _plain(finding.object), _plain(text))
        console.print(table)
    errors = sum(finding.severity is Severity.ERROR for finding in report.findings)
    console.print("[green]healthy[/]" if report.ok else f"[red]{errors} finding(s) need a remedy[/]")


def _plain(text: str) -> str:
    return text.replace("[", r"\[")
