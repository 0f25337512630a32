"""``tierwright tenant history``: what a tenant could use at a moment, with the proof."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer

from tierwright.audit import TenantHistory, tenant_history
from tierwright.cli import database, decisions, inputs, options, output
from tierwright.cli.new_files import new_file
from tierwright.types import canonical_tenant_id

_WIDTHS = (32, 8, 22, 26)


def history(
    tenant: options.Tenant,
    at: Annotated[str, typer.Option("--at", metavar="ISO", help="The moment, such as 2026-01-31T12:00Z.")],
    evidence: Annotated[
        Path | None, typer.Option("--evidence", metavar="FILE", help="Write the rows that prove it to a new file.")
    ] = None,
    archive: Annotated[
        list[Path] | None, typer.Option("--archive", metavar="FILE", help="What left the history; repeat it.")
    ] = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Say what TENANT could use at a moment, from the history alone; exit code 1 where that does not explain all.

    A list of what was changed is another question: tierwright audit list --tenant TENANT.
    """
    with output.reported_errors(as_json=as_json):
        tenant_id, moment = canonical_tenant_id(tenant), inputs.moment(at)
        assert moment is not None  # noqa: S101  the option has no default
        proof = nullcontext() if evidence is None else new_file(evidence)
        with database.reading_session(url, schema) as session, proof as file:
            write = None if file is None else file.write
            found = tenant_history(session, tenant_id, moment, archives=archive or (), evidence=write)
    if as_json:
        output.print_json(_as_dict(found))
    else:
        _print(found)
    raise typer.Exit(0 if found.is_proven else output.REFUSED)


def _as_dict(found: TenantHistory) -> dict[str, Any]:
    return {
        "tenant_id": found.tenant_id,
        "at": found.at,
        "proven": found.is_proven,
        "rows": found.rows,
        "sha256": found.sha256,
        "gaps": list(found.gaps),
        "decisions": {key: decisions.as_dict(decision) for key, decision in found.decisions.items()},
    }


def _print(found: TenantHistory) -> None:
    output.line(f"tenant {found.tenant_id} at {found.at.isoformat()}")
    for key, decision in found.decisions.items():
        verdict = "granted" if decision.enabled else "denied"
        details = "  ".join(filter(None, (decisions.amount(decision), decisions.until(decision))))
        output.line(f"  {key}", verdict, decision.reason.value, decisions.source(decision), details, widths=_WIDTHS)
    output.line(f"from {found.rows} entries of the history, sha256 {found.sha256}")
    for gap in found.gaps:
        typer.echo(f"not proven: {output.plain(gap)}", err=True)
