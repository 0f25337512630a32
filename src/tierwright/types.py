"""The column types, identifiers and closed lists on which tables, services and command line agree."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeDecorator, TypeEngine

from tierwright.errors import InvalidInput
from tierwright.exact_decimal import ExactDecimal, exact_decimal
from tierwright.refused import RefusedValue
from tierwright.uuid7 import uuid7

__all__ = [
    "AuditAction",
    "AuditEntity",
    "ExactDecimal",
    "FeatureType",
    "HealthStatus",
    "UtcDateTime",
    "canonical_tenant_id",
    "exact_decimal",
    "is_feature_key",
    "json_type",
    "key_type",
    "text_problem",
    "to_utc",
    "utc_now",
    "uuid7",
]


class FeatureType(StrEnum):
    """What kind of value a feature carries."""

    BOOLEAN = "boolean"
    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"
    JSON = "json"


class HealthStatus(StrEnum):
    """How a tenant's integration was at its last health check; never checked is NULL."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"


class AuditEntity(StrEnum):
    """What kind of thing an audit entry is about."""

    FEATURE = "feature"
    TIER = "tier"
    TIER_FEATURE = "tier_feature"
    TENANT_LICENSE = "tenant_license"
    TENANT_OVERRIDE = "tenant_override"
    MODEL = "model"
    COMPONENT = "component"
    INTEGRATION = "integration"
    TENANT_INTEGRATION = "tenant_integration"
    TENANT = "tenant"
    CATALOG = "catalog"


class AuditAction(StrEnum):
    """What was done to the thing that an audit entry is about."""

    CREATED = "created"
    UPDATED = "updated"
    DELETED = "deleted"
    ENABLED = "enabled"
    DISABLED = "disabled"
    IMPORTED = "imported"
    PURGED = "purged"
    ROTATED = "rotated"
    REVEALED = "revealed"
    RESTORED = "restored"
    ARCHIVED = "archived"
    ERASED = "erased"


def utc_now() -> datetime:
    """Return the current moment as an aware datetime in UTC."""
    return datetime.now(UTC)


def to_utc(value: datetime) -> datetime:
    """Return the same moment in UTC.

    Args:
        value: an aware datetime in any time zone.

    Returns:
        The moment, with ``datetime.UTC`` as its zone.

    Raises:
        InvalidInput: it is not a datetime, it is naive, or it leaves the years 1 to 9999 in UTC.
    """
    if not isinstance(value, datetime):
        raise RefusedValue(f"A {type(value).__name__} is not a datetime.", remedy="Pass an aware datetime.")
    if value.utcoffset() is None:
        raise RefusedValue(f"The datetime {value.isoformat()} has no time zone.", remedy="Pass an aware datetime.")
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise RefusedValue(
            "The moment is outside the years 1 to 9999 in UTC.", remedy="Use NULL for 'never'."
        ) from error


class UtcDateTime(TypeDecorator[datetime]):
    """A moment: takes aware datetimes only, and gives back aware UTC on every dialect."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return ``value`` in UTC; SQLite, which has no time zones, stores exactly this."""
        return None if value is None else to_utc(value)

    process_literal_param = process_bind_param  # type: ignore[assignment]  # the base calls both with the same values

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return what the database holds as aware UTC (PostgreSQL answers in the zone of the session)."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def json_type() -> TypeEngine[Any]:
    """Return the type of a JSON column: JSON on SQLite, JSONB on PostgreSQL; None is SQL NULL."""
    return sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")


def key_type(length: int) -> TypeEngine[str]:
    """Return the type of a key column: VARCHAR(length), in byte order on PostgreSQL (``COLLATE "C"``)."""
    return sa.String(length).with_variant(sa.String(length, collation="C"), "postgresql")


_FEATURE_KEY = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)+")


def is_feature_key(value: object) -> bool:
    """Tell whether a value has the form of a feature key: parts of a-z, 0-9, _ and -, joined by dots; at most 255."""
    return isinstance(value, str) and len(value) <= 255 and _FEATURE_KEY.fullmatch(value) is not None


_UUID_TEXT = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}")
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")
_TENANT_LENGTH = 255


def canonical_tenant_id(value: str | int | uuid.UUID) -> str:
    """Return the one text under which tierwright knows a tenant.

    A UUID, or text in a UUID's hyphenated form, becomes lower-case; an int becomes its decimal digits; other
    text is kept as it is. White space at an end is refused, not stripped, because two spellings that name one
    tenant here may name two in the host.

    Args:
        value: the host's identifier of the tenant.

    Returns:
        Between 1 and 255 characters.

    Raises:
        InvalidInput: bool or another type, empty, too long, a NUL or lone surrogate, white space at an end.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | uuid.UUID):
        raise _bad_tenant(f"a {type(value).__name__} cannot name one")
    if isinstance(value, int) and abs(value) >= 10**_TENANT_LENGTH:
        raise _bad_tenant("it has more than 255 characters")  # int's own limit would raise a bare ValueError
    text = str.__str__(value) if isinstance(value, str) else str(int(value) if isinstance(value, int) else value)
    if problem := _tenant_problem(text):
        raise _bad_tenant(problem)
    return text.lower() if _UUID_TEXT.fullmatch(text) else text


def _tenant_problem(text: str) -> str | None:
    """Say what is wrong with a tenant's identifier, if anything is."""
    if not text or text != text.strip():
        return "it is empty or has white space at an end"
    if len(text) > _TENANT_LENGTH:
        return "it has more than 255 characters"
    return text_problem(text)


def text_problem(text: str) -> str | None:
    """Say why PostgreSQL could not store ``text`` (a NUL or a lone surrogate); None where it could."""
    found = _UNSTORABLE.search(text)
    if found is None:
        return None
    return "it contains a NUL character" if found[0] == "\x00" else "it contains a lone surrogate"


def _bad_tenant(problem: str) -> InvalidInput:
    return RefusedValue(f"This is not a tenant: {problem}.", remedy="Pass a str, int or UUID of 1 to 255 characters.")
