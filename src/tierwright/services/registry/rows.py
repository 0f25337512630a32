"""Reading the rows that a write is about, and telling whether it changes them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlalchemy.orm.attributes import flag_modified

from tierwright.errors import NotFound, ReferenceUnknown
from tierwright.services import near_keys
from tierwright.services.session_state import connection_of
from tierwright.tables import FeatureRegistry

RowT = TypeVar("RowT")

CHECK = "Check the key."
_CREATE = "Create it first, or correct the key."


def fetch(session: Session, row: type[RowT], **key: Any) -> RowT | None:
    """Return the row with a key as the database has it now, whatever the session loaded earlier."""
    given = {name: value for name, value in key.items() if value is not None}
    nothing = tuple(name for name in key if name not in given)
    model: Any = row
    found: RowT | None = session.scalars(_one(model, tuple(given), nothing), given).one_or_none()
    return found


def fetch_all(session: Session, row: type[RowT], *conditions: Any) -> list[RowT]:
    """Return the rows that meet the conditions, as the database has them now."""
    statement = sa.select(row).where(*conditions).execution_options(populate_existing=True)
    return list(session.scalars(statement))


def features_by_key(session: Session, keys: Iterable[str], *, shared_lock: bool = False) -> dict[str, FeatureRegistry]:
    """Return the features with these keys.

    Args:
        session: the session.
        keys: feature keys.
        shared_lock: whether to keep their types from changing until the transaction ends (PostgreSQL; on SQLite the
            file is locked anyway).

    Raises:
        ReferenceUnknown: the registry does not have one of them.
    """
    wanted = sorted(set(keys))
    found = {row.feature_key: row for row in session.scalars(_features(shared_lock), {"keys": wanted})}
    if missing := [key for key in wanted if key not in found]:
        raise unknown("feature", missing, near_keys.asked(connection_of(session), _CREATE, missing))
    return found


@cache
def _one(row: Any, given: tuple[str, ...], nothing: tuple[str, ...]) -> sa.Select[Any]:
    """Return what reads a row by some columns and by the lack of others; built once: that takes longer than to run."""
    statement = sa.select(row).where(*(getattr(row, name) == sa.bindparam(name) for name in given))
    statement = statement.where(*(getattr(row, name).is_(None) for name in nothing))
    return statement.execution_options(populate_existing=True)


@cache
def _features(shared_lock: bool) -> sa.Select[Any]:
    column = FeatureRegistry.__table__.c.feature_key  # type: ignore[attr-defined]  # made by the metaclass
    statement = sa.select(FeatureRegistry).where(column.in_(sa.bindparam("keys", expanding=True))).order_by(column)
    if shared_lock:
        statement = statement.with_for_update(read=True)
    return statement.execution_options(populate_existing=True)


def refuse_unknown(keys: list[str], known: Iterable[str]) -> None:
    """Refuse a write that refers to features which do not exist.

    Args:
        keys: those that no feature has.
        known: the keys of all features, of which one may have been meant.

    Raises:
        ReferenceUnknown: ``keys`` is not empty.
    """
    if keys:
        raise unknown("feature", keys, near_keys.asked_of(known, _CREATE, keys))


def unknown(what: str, keys: list[str], remedy: str = _CREATE) -> ReferenceUnknown:
    """Return the error about references to things that do not exist."""
    named = ", ".join(keys[:5]) + (" and others" if len(keys) > 5 else "")
    return ReferenceUnknown(f"There is no {what} {named}.", remedy=remedy, details={"unknown": keys})


def not_found(what: str, key: str, remedy: str = CHECK) -> NotFound:
    """Return the error about something to be changed that does not exist."""
    return NotFound(f"There is no {what} {key}.", remedy=remedy, details={"key": key})


def same(one: Any, other: Any) -> bool:
    """Tell whether two JSON values are the same: to Python True is 1, to JSON it is not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def difference(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """Return the columns that differ, in their order."""
    return [name for name in after if not same(before[name], after[name])]


def apply(row: Any, values: Mapping[str, Any]) -> None:
    """Set columns of a row."""
    for name, value in values.items():
        setattr(row, name, value)
        # SQLAlchemy compares JSON as Python does, and would not write True over 1.
        flag_modified(row, name)
