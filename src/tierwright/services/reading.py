"""From rows to facts: the statements that a resolution needs, and what their rows mean.

Each statement is one ``UNION ALL`` of tagged rows, so that it sees one state of the database at every isolation
level. JSON arrives as text: the same few documents recur in thousands of rows, and a text is looked up faster than
it is parsed.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import DBAPIError

from tierwright.errors import DatabaseUnreachable, LockNotAcquired
from tierwright.migrations.failures import typed
from tierwright.resolution.facts import Feature, Grant, License, Override, Tier
from tierwright.resolution.snapshot import CatalogSnapshot
from tierwright.services.hidden_rows import HiddenRows
from tierwright.services.statements import CATALOG, CHANGED, EVERYTHING, TENANT_FOR_SESSION, Kind

Row = Sequence[Any]
#: The number and the token of the newest catalogue write; another pair means another catalogue.
Version = tuple[int, str | None]

NO_VERSION: Version = (0, None)

_SHORT = 512
#: The kinds of rows that are a tenant's begin here; the state's, which is 0, says whether they are all there.
_FIRST_OF_TENANT = int(Kind.LICENSE)
#: Plain numbers, as rows have them: to look a member up, and compare with it, costs as much as what is done with a row.
_STATE, _FEATURE, _TIER, _GRANT = int(Kind.STATE), int(Kind.FEATURE), int(Kind.TIER), int(Kind.GRANT)
_LICENSE, _OVERRIDE = int(Kind.LICENSE), int(Kind.OVERRIDE)
#: What drivers give for a boolean; SQLite also holds whatever was written there.
_TRUE, _FALSE = (True, 1), (False, 0)
_UNREADABLE = ("",)
_NEVER = (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC))
_ALWAYS = (None, None)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The compiled catalogue and the version at which it was read."""

    snapshot: CatalogSnapshot
    version: Version


@dataclass(frozen=True, slots=True)
class TenantFacts:
    """What a tenant holds: active licences and overrides, whatever their windows."""

    licenses: tuple[License, ...]
    overrides: tuple[Override, ...]


def read_catalog(connection: Connection) -> Catalog:
    """Return the whole catalogue, by one statement."""
    return catalog_of(_rows(connection, CATALOG))


def read_tenant(connection: Connection, tenant_id: str) -> TenantFacts:
    """Return what a tenant holds, by one statement.

    Args:
        tenant_id: in its canonical form.

    Raises:
        HiddenRows: row-level security hides them from this transaction.
    """
    return tenant_of(_rows(connection, TENANT_FOR_SESSION[connection.dialect.name], tenant_id))


def read_everything(connection: Connection, tenant_id: str) -> tuple[Catalog, TenantFacts]:
    """Return what a tenant holds, and the catalogue as far as it can matter to it, by one statement.

    Args:
        tenant_id: in its canonical form.

    Raises:
        HiddenRows: row-level security hides what the tenant holds from this transaction.
    """
    rows = _rows(connection, EVERYTHING[connection.dialect.name], tenant_id)
    facts = tenant_of(rows)
    return catalog_of(rows), facts


def read_newest_change(connection: Connection, tenant_id: str) -> datetime | None:
    """Return the moment of the newest change of the catalogue, or of what the tenant holds; None where nothing is.

    The tenant's rows must be visible: this does not say so where row-level security hides them.

    Args:
        tenant_id: in its canonical form.
    """
    found = connection.execute(CHANGED, {"tenant_id": tenant_id}).all()
    moments = [moment_of(row.moment) for row in found]
    moments += [_changed_at(row.document) for row in found]
    return max((moment for moment in moments if moment is not None), default=None)


def catalog_of(rows: Iterable[Row]) -> Catalog:
    """Return the catalogue that tagged rows describe; rows of other kinds are left alone.

    Rows may have been written past the services. What cannot be read denies: a tier without a rank is left out, a
    feature whose links cannot be read needs a feature that nobody has.
    """
    version, known = NO_VERSION, _known_grant
    features: list[Feature] = []
    tiers: list[Row] = []
    grants: dict[str, dict[str, Grant]] = defaultdict(dict)
    for row in rows:
        kind, key, reference, document = row[0], row[1], row[2], row[3]
        if kind == _GRANT:
            if key is not None:
                # Written out, as below: a call for each of thousands of rows costs more than what it does.
                grants[reference][key] = known(document) if len(document) <= _SHORT else _grant(document)
        elif kind == _FEATURE:
            is_short = len(reference) + len(document) + len(row[7]) <= _SHORT
            features.append(
                (_known_feature if is_short else _feature)(key, reference, document, row[4], row[5], row[7])
            )
        elif kind == _TIER:
            if isinstance(row[6], int):
                tiers.append(row)
        elif kind == _STATE:
            version = version_of(row)
    compiled = [
        Tier(
            row[2],
            row[1],
            grants.get(row[2], {}),
            row[6],
            row[3],
            row[4] in _TRUE,
            row[5] in _TRUE,
            row[7] is not None,
        )
        for row in tiers
    ]
    return Catalog(CatalogSnapshot(features, compiled), version)


def tenant_of(rows: Iterable[Row]) -> TenantFacts:
    """Return what a tenant holds by tagged rows; rows of other kinds are left alone.

    A window that cannot be read is never open for a licence, nor for an override that enables; one that denies always
    is.

    Raises:
        HiddenRows: the database says that row-level security may have hidden some of them.
    """
    licenses: list[License] = []
    overrides: list[Override] = []
    for row in rows:
        kind = row[0]
        if 0 < kind < _FIRST_OF_TENANT:
            continue
        if kind == _LICENSE:
            licenses.append(License(row[2], *(_window_of(row) or _NEVER)))
        elif kind == _OVERRIDE:
            grant = grant_of(row[3])
            overrides.append(Override(row[1], grant, *(_window_of(row) or (_NEVER if grant.enabled else _ALWAYS))))
        elif row[2] is not None:
            raise HiddenRows(row[2])
    return TenantFacts(tuple(licenses), tuple(overrides))


def version_in(rows: Iterable[Row]) -> Version:
    """Return the version of the catalogue that tagged rows carry; before the first write there is none."""
    for row in rows:
        if row[0] == _STATE:
            return version_of(row)
    return NO_VERSION


def version_of(row: Row) -> Version:
    """Return the version in a row of the kind STATE; NO_VERSION where it stands for no row of the table."""
    if row[6] is None:
        return NO_VERSION
    token = _state(row[3]).get("token")
    return (row[6], token) if isinstance(row[6], int) else (-1, f"{row[6]} {token}")


def moment_of(value: Any) -> datetime | None:
    """Return a moment as the driver gives it, in UTC: text without a zone on SQLite, an aware datetime elsewhere.

    Raises:
        ValueError, TypeError, AttributeError: it is none.
    """
    if value is None:
        return None
    moment = datetime.fromisoformat(value) if isinstance(value, str) else value
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def grant_of(document: str) -> Grant:
    """Return the grant in a value document; what cannot be read denies."""
    return _known_grant(document) if len(document) <= _SHORT else _grant(document)


def keys_of(document: str) -> tuple[str, ...]:
    """Return the feature keys in a JSON list; of what is none, a key that no feature has."""
    return _known_keys(document) if len(document) <= _SHORT else _keys(document)


def is_readable(keys: tuple[str, ...]) -> bool:
    """Tell whether :func:`keys_of` could read a list."""
    return keys != _UNREADABLE


def _feature(key: str, depends_on: str, default: str, is_premium: Any, is_active: Any, conflicts_with: str) -> Feature:
    needed, excluded = keys_of(depends_on), keys_of(conflicts_with)
    if excluded == _UNREADABLE:
        needed, excluded = _UNREADABLE, ()
    return Feature(key, grant_of(default), is_premium not in _FALSE, is_active in _TRUE, needed, excluded)


def _grant(document: str) -> Grant:
    try:
        return Grant.from_document(_parsed(document))
    except RecursionError:
        return Grant(False)


def _keys(document: str) -> tuple[str, ...]:
    found = _parsed(document)
    if isinstance(found, list) and all(isinstance(key, str) for key in found):
        return tuple(found)
    return _UNREADABLE


#: Short documents recur; a cache of long ones would be counted by number, and not by their size.
_known_grant = lru_cache(maxsize=8192)(_grant)
_known_keys = lru_cache(maxsize=8192)(_keys)
_known_feature = lru_cache(maxsize=8192)(_feature)


def _rows(connection: Connection, statement: sa.CompoundSelect[Any], tenant_id: str | None = None) -> Sequence[Row]:
    """Return the rows as the driver makes them; a Row around each would cost a quarter of the query again.

    Raises:
        DBAPIError: as of any execution; SQLite computes most rows only when they are fetched.
    """
    result = connection.execute(statement, None if tenant_id is None else {"tenant_id": tenant_id})
    dbapi = connection.dialect.loaded_dbapi
    try:
        return result.cursor.fetchall()
    except dbapi.Error as error:
        raise DBAPIError.instance(str(statement), None, error, dbapi.Error, dialect=connection.dialect) from error
    finally:
        result.close()


def _window_of(row: Row) -> tuple[datetime | None, datetime | None] | None:
    try:
        return moment_of(row[8]), moment_of(row[9])
    except (ValueError, TypeError, AttributeError, OverflowError):
        return None


def _parsed(document: Any) -> Any:
    try:
        return json.loads(document)
    except (ValueError, TypeError, RecursionError):
        return None


@lru_cache(maxsize=64)
def _state(document: str | None) -> dict[str, Any]:
    found = None if document is None else _parsed(document)
    return found if isinstance(found, dict) else {}


def _changed_at(document: str | None) -> datetime | None:
    text = _state(document).get("changed_at")
    return moment_of(text) if isinstance(text, str) else None


def is_unreachable(error: DBAPIError) -> bool:
    """Tell whether a driver's error means that the database cannot be asked now, and not that it refused."""
    return isinstance(typed(error), DatabaseUnreachable | LockNotAcquired)
