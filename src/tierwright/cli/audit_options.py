"""What the history is asked for on the command line."""

from __future__ import annotations

from typing import Annotated

import typer

from tierwright.audit import AuditQuestion
from tierwright.cli import inputs

Tenant = Annotated[str | None, typer.Option("--tenant", metavar="TENANT", help="About this tenant.")]
Feature = Annotated[str | None, typer.Option("--feature", metavar="FEATURE", help="About this feature.")]
Entity = Annotated[
    str | None,
    typer.Option("--entity", metavar="KIND[/KEY]", help="About a kind of thing, or one: tier, or tier/pro."),
]
Actor = Annotated[str | None, typer.Option("--by", metavar="ACTOR", help="Done by this user or process.")]
Action = Annotated[
    list[str] | None, typer.Option("--action", metavar="ACTION", help="Such as created or deleted; repeat it.")
]
Since = Annotated[str | None, typer.Option("--since", metavar="ISO", help="Not before, such as 2026-01-31T12:00Z.")]
Until = Annotated[str | None, typer.Option("--until", metavar="ISO", help="Before this moment.")]


def question(
    tenant: str | None,
    feature: str | None,
    entity: str | None,
    actor: str | None,
    action: list[str] | None,
    since: str | None,
    until: str | None,
) -> AuditQuestion:
    """Return what is asked for.

    Raises:
        InvalidInput: a part of it cannot be meant.
    """
    kind, _, key = (entity or "").partition("/")
    return AuditQuestion(
        feature=feature,
        tenant=tenant,
        entity=kind if entity is not None else None,
        entity_id=key or None,
        actor=actor,
        actions=action or (),
        since=inputs.moment(since),
        until=inputs.moment(until),
    )
