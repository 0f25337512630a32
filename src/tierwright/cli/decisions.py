"""``tierwright evaluate`` and ``tierwright explain``: may this tenant use this feature, and why?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import typer

from tierwright.cli import database, inputs, options, output
from tierwright.resolution.decision import Decision, Reason
from tierwright.services import near_keys
from tierwright.services.entitlements import Entitlements
from tierwright.types import canonical_tenant_id


def evaluate(
    tenant: options.Tenant,
    feature: options.FeatureKey,
    at: options.At = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Say whether TENANT may use FEATURE; exit code 0 granted, 1 denied, 3 nobody can tell."""
    with output.reported_errors(as_json=as_json, refused=output.UNAVAILABLE):
        tenant_id, moment = canonical_tenant_id(tenant), inputs.moment(at)
        with database.reading_session(url, schema) as session:
            decision = Entitlements(session).evaluate(tenant_id, feature, at=moment)
            meant = near_keys.near(session.connection(), feature) if _is_unknown(decision) and not as_json else []
    if as_json:
        output.print_json({"tenant_id": tenant_id, **as_dict(decision)})
    else:
        _print(tenant_id, decision, meant)
    raise typer.Exit(_exit_code(decision))


def explain(
    tenant: options.Tenant,
    feature: options.FeatureKey,
    at: options.At = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Say in plain sentences why TENANT may or may not use FEATURE, and what would change it."""
    with output.reported_errors(as_json=as_json, refused=output.UNAVAILABLE):
        tenant_id, moment = canonical_tenant_id(tenant), inputs.moment(at)
        with database.reading_session(url, schema) as session:
            found = Entitlements(session).explain(tenant_id, feature, at=moment)
            if _is_unknown(found.decision):
                found = replace(found, remedy=near_keys.asked(session.connection(), found.remedy, [feature]))
    if as_json:
        said = {"sentence": found.sentence, "remedy": found.remedy}
        output.print_json({"tenant_id": tenant_id, **said, "decision": as_dict(found.decision)})
    else:
        output.line(found.sentence)
        if found.remedy:
            output.line(f"  {found.remedy}")
    raise typer.Exit(output.UNAVAILABLE if found.decision.reason is Reason.UNAVAILABLE else 0)


def as_dict(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON has it."""
    return {field.name: getattr(decision, field.name) for field in fields(decision)}


def source(decision: Decision) -> str:
    """Return where a decision comes from, in two words."""
    deleted = "(deleted)" if decision.tier_deleted else ""
    return " ".join(filter(None, (decision.source.value, decision.tier_key, deleted)))


def amount(decision: Decision) -> str:
    """Return the value of a granted feature; nothing where it has none."""
    if decision.unlimited:
        return "unlimited"
    return "" if decision.value is None else output.literal(decision.value)


def until(decision: Decision) -> str:
    """Return when what decided ends; nothing where it does not end."""
    return "" if decision.expires_at is None else f"until {decision.expires_at:%Y-%m-%d %H:%M} UTC"


def _is_unknown(decision: Decision) -> bool:
    return decision.reason is Reason.FEATURE_NOT_FOUND


def _print(tenant_id: str, decision: Decision, meant: Sequence[str]) -> None:
    verdict = "granted" if decision.enabled else "denied"
    typer.secho(verdict, fg="green" if decision.enabled else "red", bold=True, nl=False)
    output.line(f" {decision.feature_key} for {tenant_id}")
    facts = {
        "reason": decision.reason.value,
        "source": source(decision),
        "value": amount(decision),
        "blocked by": ", ".join(decision.blocked_by),
        "ends": until(decision).removeprefix("until "),
    }
    for name, fact in facts.items():
        if fact:
            output.line(f"  {name}", fact, widths=(12,))
    if meant:
        output.line(f"  did you mean {near_keys.listed(meant)}?")


def _exit_code(decision: Decision) -> int:
    if decision.reason is Reason.UNAVAILABLE:
        return output.UNAVAILABLE
    return 0 if decision.enabled else output.REFUSED
