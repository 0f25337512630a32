"""``tierwright tenant models|components|integrations``: what one tenant may use, and what locks the rest."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from tierwright.cli import database, inputs, options, output
from tierwright.resolution.decision import Decision, Reason
from tierwright.services import resources
from tierwright.services.entitlements import Entitlements
from tierwright.services.resources import Availability, Resource
from tierwright.types import canonical_tenant_id, text_problem

_WIDTHS = (40, 19)
#: Reads the resources of a tenant, whose decisions are known.
Read = Callable[[Session, Mapping[str, Decision], str], Sequence[Resource]]
Available = Annotated[bool, typer.Option("--available", help="Only what it can use.")]


def models(
    tenant: options.Tenant,
    provider: Annotated[str | None, typer.Option("--provider", help="Only this one's.")] = None,
    available: Available = False,
    at: options.At = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """List the AI models with what each is for TENANT: available, or locked and by which features."""

    def read(session: Session, decisions: Mapping[str, Decision], tenant_id: str) -> Sequence[Resource]:
        if provider is not None and text_problem(provider):
            return ()  # no database has it, and PostgreSQL would not even be asked
        return resources.models(session, decisions, provider)

    _list("models", read, tenant, available, at, (url, schema), as_json)


def components(
    tenant: options.Tenant,
    available: Available = False,
    at: options.At = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """List the components with what each is for TENANT: available, or locked and by which features."""

    def read(session: Session, decisions: Mapping[str, Decision], _tenant_id: str) -> Sequence[Resource]:
        return resources.components(session, decisions)

    _list("components", read, tenant, available, at, (url, schema), as_json)


def integrations(
    tenant: options.Tenant,
    available: Available = False,
    at: options.At = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """List the integrations with what each is for TENANT; `integrations list` is what it has configured."""
    _list("integrations", resources.integrations, tenant, available, at, (url, schema), as_json)


def _list(
    name: str,
    read: Read,
    tenant: str,
    only_available: bool,
    at: str | None,
    database_of: tuple[str | None, str | None],
    as_json: bool,
) -> None:
    with output.reported_errors(as_json=as_json):
        tenant_id, moment = canonical_tenant_id(tenant), inputs.moment(at)
        with database.reading_session(*database_of) as session:
            decisions = Entitlements(session).evaluate_all(tenant_id, at=moment)
            found = read(session, decisions, tenant_id)
    shown = [each for each in found if each.availability is Availability.AVAILABLE or not only_available]
    if as_json:
        output.print_json({"tenant_id": tenant_id, name: [_as_dict(each, decisions) for each in shown]})
        return
    for each in shown:
        why = ", ".join(f"{key} {reason}" for key, reason in _reasons(each, decisions).items())
        output.line(each.key, each.availability, why, widths=_WIDTHS)
    if not shown:
        typer.echo("none", err=True)


def _as_dict(found: Resource, decisions: Mapping[str, Decision]) -> dict[str, Any]:
    return asdict(found) | {"reasons": _reasons(found, decisions)}


def _reasons(found: Resource, decisions: Mapping[str, Decision]) -> dict[str, str]:
    """Return why the tenant does not have each of the features that lock something."""
    return {
        key: (decisions[key].reason if key in decisions else Reason.FEATURE_NOT_FOUND).value for key in found.blocked_by
    }
