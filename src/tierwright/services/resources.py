"""Models, components and integrations, as one tenant may use them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.resolution.decision import Decision
from tierwright.services.hidden_rows import HiddenRows, seen
from tierwright.services.reading import keys_of
from tierwright.services.row_security import current_tenant, hides, is_shadowed
from tierwright.services.session_state import connection_of
from tierwright.types import HealthStatus

_tables = SQLModel.metadata.tables
_MODELS = _tables["model_registry"].c
_TENANT_ID = sa.bindparam("tenant_id", type_=sa.String())
_COMPONENTS = _tables["component_registry"].c
_INTEGRATIONS = _tables["integration_registry"].c
_CONFIGS_NAME = "tenant_integration_configs"
_CONFIGS = _tables[_CONFIGS_NAME].c


class Availability(StrEnum):
    """What stands between a tenant and a resource; the first that applies."""

    LOCKED = "locked"
    NEEDS_CONFIGURATION = "needs_configuration"
    UNHEALTHY = "unhealthy"
    AVAILABLE = "available"


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource as one tenant may use it.

    Attributes:
        key: its key in the registry.
        name: for people.
        feature_key: the feature that gates it; None is a public component.
        availability: whether the tenant may use it now, or what it needs first.
        blocked_by: the features that it needs and that the tenant does not have, sorted.
    """

    key: str
    name: str
    feature_key: str | None
    availability: Availability
    blocked_by: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Model(Resource):
    """An AI model; its key is ``provider/model_id``, and prices are per 1,000 tokens."""

    provider: str
    model_id: str
    model_type: str
    context_window: int | None
    input_price_per_1k: Decimal | None
    output_price_per_1k: Decimal | None
    is_deprecated: bool


@dataclass(frozen=True, slots=True)
class Component(Resource):
    """A building block of the host."""

    category: str
    is_beta: bool


@dataclass(frozen=True, slots=True)
class Integration(Resource):
    """An integration; ``health_status`` is None where it was never checked."""

    category: str
    is_beta: bool
    health_status: str | None


_SELECT_MODELS = (
    sa.select(
        _MODELS.provider,
        _MODELS.model_id,
        _MODELS.model_name,
        _MODELS.feature_key,
        _MODELS.model_type,
        _MODELS.context_window,
        _MODELS.input_price_per_1k,
        _MODELS.output_price_per_1k,
        _MODELS.is_deprecated,
    )
    .where(_MODELS.is_active)
    .order_by(_MODELS.provider, _MODELS.model_id)
)
_SELECT_MODELS_OF_PROVIDER = _SELECT_MODELS.where(_MODELS.provider == sa.bindparam("provider"))
_SELECT_COMPONENTS = (
    sa.select(
        _COMPONENTS.component_key,
        _COMPONENTS.display_name,
        _COMPONENTS.feature_key,
        sa.cast(_COMPONENTS.required_features, sa.Text()).label("required_features"),
        _COMPONENTS.category,
        _COMPONENTS.is_beta,
    )
    .where(_COMPONENTS.is_active)
    .order_by(_COMPONENTS.component_key)
)
_SELECT_INTEGRATIONS = (
    sa.select(
        _INTEGRATIONS.integration_key,
        _INTEGRATIONS.integration_name,
        _INTEGRATIONS.feature_key,
        sa.cast(_INTEGRATIONS.required_features, sa.Text()).label("required_features"),
        _INTEGRATIONS.category,
        _INTEGRATIONS.is_beta,
        _CONFIGS.is_enabled,
        _CONFIGS.health_status,
    )
    .join_from(
        _tables["integration_registry"],
        _tables[_CONFIGS_NAME],
        sa.and_(_CONFIGS.integration_key == _INTEGRATIONS.integration_key, _CONFIGS.tenant_id == _TENANT_ID),
        isouter=True,
    )
    .where(_INTEGRATIONS.is_active)
    .order_by(_INTEGRATIONS.integration_key)
)
#: By dialect; each row also says whether row-level security may have hidden what it lacks.
_SELECT_CONFIGURED = {
    "sqlite": _SELECT_INTEGRATIONS.add_columns(sa.false().label("is_hidden")),
    "postgresql": _SELECT_INTEGRATIONS.add_columns(
        sa.or_(hides(_TENANT_ID, _CONFIGS_NAME), is_shadowed()).label("is_hidden"),
        current_tenant().label("works_for"),
    ),
}


def models(session: Session, decisions: Mapping[str, Decision], provider: str | None) -> tuple[Model, ...]:
    """Return the active models, all or one provider's."""
    connection = connection_of(session, writing=False)
    if provider is None:
        rows = connection.execute(_SELECT_MODELS)
    else:
        rows = connection.execute(_SELECT_MODELS_OF_PROVIDER, {"provider": provider})
    return tuple(
        Model(
            f"{row.provider}/{row.model_id}",
            row.model_name,
            row.feature_key,
            *_locked_or_available(decisions, (row.feature_key,)),
            row.provider,
            row.model_id,
            row.model_type,
            row.context_window,
            row.input_price_per_1k,
            row.output_price_per_1k,
            row.is_deprecated,
        )
        for row in rows
    )


def components(session: Session, decisions: Mapping[str, Decision]) -> tuple[Component, ...]:
    """Return the active components."""
    return tuple(
        Component(
            row.component_key,
            row.display_name,
            row.feature_key,
            *_locked_or_available(decisions, _needed(row)),
            row.category,
            row.is_beta,
        )
        for row in connection_of(session, writing=False).execute(_SELECT_COMPONENTS)
    )


def integrations(session: Session, decisions: Mapping[str, Decision], tenant_id: str) -> tuple[Integration, ...]:
    """Return the active integrations, with what one tenant has made of them.

    Raises:
        EntitlementsUnavailable: row-level security hides that, and the session cannot be told whom it works for.
    """
    connection = connection_of(session, writing=False)
    return tuple(
        Integration(
            row.integration_key,
            row.integration_name,
            row.feature_key,
            *_integration_state(decisions, row),
            row.category,
            row.is_beta,
            row.health_status,
        )
        for row in seen(connection, tenant_id, lambda: _configured(connection, tenant_id))
    )


def _configured(connection: Connection, tenant_id: str) -> Sequence[Any]:
    rows = connection.execute(_SELECT_CONFIGURED[connection.dialect.name], {"tenant_id": tenant_id}).all()
    if rows and rows[0].is_hidden:
        raise HiddenRows(rows[0].works_for)
    return rows


def _needed(row: Any) -> tuple[str, ...]:
    """Return the features that a component or integration needs; what is no list of keys is a key that nobody has."""
    return (*([] if row.feature_key is None else [row.feature_key]), *keys_of(row.required_features))


def _locked_or_available(
    decisions: Mapping[str, Decision], needed: Iterable[str]
) -> tuple[Availability, tuple[str, ...]]:
    blocked_by = tuple(sorted({key for key in needed if key not in decisions or not decisions[key].enabled}))
    return (Availability.LOCKED if blocked_by else Availability.AVAILABLE), blocked_by


def _integration_state(decisions: Mapping[str, Decision], row: Any) -> tuple[Availability, tuple[str, ...]]:
    availability, blocked_by = _locked_or_available(decisions, _needed(row))
    if blocked_by:
        return availability, blocked_by
    if not row.is_enabled:  # nothing configured, or switched off
        return Availability.NEEDS_CONFIGURATION, ()
    return (Availability.UNHEALTHY if row.health_status == HealthStatus.UNHEALTHY else Availability.AVAILABLE), ()
