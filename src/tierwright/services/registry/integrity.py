"""What a constraint that was hit means, by its name, in one place.

PostgreSQL tells the name. SQLite tells the columns of a unique one, the name of a check or of a trigger of ours, and
nothing at all of a foreign key; its texts ``UNIQUE constraint failed: table.column, table.column`` and ``CHECK
constraint failed: name`` are read because there is nothing else (https://www.sqlite.org/rescode.html#constraint_unique).

The services validate under their locks, so these errors come from what was written past them, or from a race of
transactions that see an older state (REPEATABLE READ).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlmodel import SQLModel

from tierwright.errors import (
    AlreadyExists,
    HistoryProtected,
    InvalidInput,
    ReferenceUnknown,
    StillInUse,
    TierwrightError,
)
from tierwright.services.missing_tables import missing_tables
from tierwright.services.transactions import retry, typed_retries
from tierwright.tables import TABLE_NAMES
from tierwright.tables.guards import TENANT_GUARDS
from tierwright.tables.history_guards import HISTORY_GUARDS

_UNIQUE, _FOREIGN_KEY, _RESTRICT, _CHECK = "23505", "23503", "23001", "23514"
_SQLITE_KINDS = {
    sqlite3.SQLITE_CONSTRAINT_UNIQUE: _UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY: _UNIQUE,
    sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY: _FOREIGN_KEY,
    sqlite3.SQLITE_CONSTRAINT_CHECK: _CHECK,
    sqlite3.SQLITE_CONSTRAINT_TRIGGER: _CHECK,
}
_EXISTING = {
    "uq_feature_registry_key": "A feature with this key exists.",
    "idx_license_tier_key": "A tier with this key exists.",
    "idx_license_tier_default": "Another tier is the default.",
    "uq_model_registry_provider_model": "A model of this provider with this id exists.",
    "uq_component_registry_key": "A component with this key exists.",
    "uq_integration_registry_key": "An integration with this key exists.",
}
#: Written by services that change a row which exists: that it was made meanwhile is a race, not a refusal.
_UPSERTED = {
    "pk_tenant_license",
    "pk_tenant_feature_override",
    "pk_tenant_integration_configs",
    "idx_tier_features_tier_key",
}


@contextmanager
def typed_writes() -> Iterator[None]:
    """Raise what the database says of our constraints, and of lost races, as errors of ours.

    Errors of other tables, which the host has pending in the same session, pass unchanged.

    Raises:
        AlreadyExists, ReferenceUnknown, StillInUse, InvalidInput: a constraint of ours was hit.
        RetryTransaction: another transaction came first.
        SchemaDrift: the database was not migrated.
    """
    try:
        with typed_retries():
            yield
    except IntegrityError as error:
        found = typed_integrity(error)
        if found is None:
            raise
        raise found from error
    except DBAPIError as error:
        missing = missing_tables(error)
        if missing is None:
            raise
        raise missing from error


def typed_integrity(error: IntegrityError) -> TierwrightError | None:
    """Return the typed error for a constraint that was hit; None if it is not one of ours."""
    original = error.orig
    if isinstance(original, sqlite3.Error):
        kind = _SQLITE_KINDS.get(getattr(original, "sqlite_errorcode", 0))
        # SQLite does not say whose foreign key it was; in a write of ours it is most likely ours.
        return None if kind is None else _meaning(kind, _sqlite_name(kind, str(original)), kind == _FOREIGN_KEY)
    # psycopg has a diagnosis; asyncpg's error, behind SQLAlchemy's, has the same under other names.
    cause = getattr(original, "__cause__", None)
    diagnosis = getattr(original, "diag", None) or cause
    kind = getattr(original, "sqlstate", None) or getattr(original, "pgcode", None)
    return _meaning(
        kind, getattr(diagnosis, "constraint_name", None), getattr(diagnosis, "table_name", "") in TABLE_NAMES
    )


def _meaning(kind: str | None, name: str | None, is_ours: bool) -> TierwrightError | None:
    details = {"constraint": name}
    if name in _UPSERTED:
        return retry()
    if name in _EXISTING:
        return AlreadyExists(_EXISTING[name], remedy="Change it, or choose another key.", details=details)
    if name in TENANT_GUARDS:
        return InvalidInput(
            "A row stays with its tenant.",
            remedy="Delete it, and make it anew under the other tenant.",
            details=details,
        )
    if name in HISTORY_GUARDS:
        return HistoryProtected(
            "What was recorded in the history stays as it is.",
            remedy="Add an entry that says what is right: the history is only added to. Where adding one is refused, "
            "`tierwright doctor` says what is in its way.",
            details=details,
        )
    if name in _checks():
        return InvalidInput(f"A value breaks the check {name}.", remedy="Correct the value.", details=details)
    if kind == _FOREIGN_KEY and is_ours:
        return ReferenceUnknown(
            "The write refers to something that does not exist.", remedy="Create that first.", details=details
        )
    if kind == _RESTRICT and is_ours:
        return StillInUse("Something refers to what is to be removed.", remedy="Retire it instead.", details=details)
    return None


def _sqlite_name(kind: str, message: str) -> str | None:
    told = message.partition("constraint failed: ")[2]
    if kind == _UNIQUE:
        return _unique_by_columns().get(frozenset(told.split(", ")))
    return told or None


@lru_cache(maxsize=1)
def _unique_by_columns() -> dict[frozenset[str], str]:
    found = {}
    for table in _tables():
        unique = [each for each in table.constraints if isinstance(each, sa.UniqueConstraint | sa.PrimaryKeyConstraint)]
        for each in (*unique, *(index for index in table.indexes if index.unique)):
            found[frozenset(f"{table.name}.{column.name}" for column in each.columns)] = str(each.name)
    return found


@lru_cache(maxsize=1)
def _checks() -> frozenset[str]:
    return frozenset(
        str(each.name) for table in _tables() for each in table.constraints if isinstance(each, sa.CheckConstraint)
    )


def _tables() -> list[sa.Table]:
    return [SQLModel.metadata.tables[name] for name in TABLE_NAMES]
