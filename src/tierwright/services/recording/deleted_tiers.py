"""Deleted tiers are given to nobody, whoever writes it: not to a tenant, not as a base; they stay as they are.

The services refuse this for themselves. A licence for a deleted tier that is there already may change in other ways,
and a deleted tier that nobody holds may go for good.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.errors import InvalidInput, StillInUse, TierDeleted
from tierwright.services.catalog_version import commits_by_itself
from tierwright.services.recording.described import TIER_COLUMNS, Described, Seen
from tierwright.services.registry.rules import named
from tierwright.services.statements import TIERS

_GRANTS = "license_tier_features"


class Given(NamedTuple):
    """A row that refers to a tier, or is one.

    Attributes:
        before: as it is; None where it is made.
        tier_id: to which tier it refers afterwards; None to none, or where it goes.
        is_deleted: of a tier, whether it is a deleted one afterwards, or not there.
        is_gone: whether it is not there afterwards.
    """

    before: Seen | None
    tier_id: Any
    is_deleted: bool = False
    is_gone: bool = False

    @property
    def was_live(self) -> bool:
        """Whether there was such a tier that was not deleted."""
        return self.before is not None and self.before.values.get("deleted_at") is None

    @property
    def stays_deleted(self) -> str | None:
        """The key of the tier, if it was deleted before, and is there afterwards."""
        stays = self.before is not None and not self.was_live and self.is_deleted and not self.is_gone
        return self.before.values["tier_key"] if self.before is not None and stays else None


def is_concerned(described: Described) -> bool:
    """Tell whether rows of a table refer to tiers; of all others nothing need be looked at."""
    return described.table.name in TIER_COLUMNS


def seen_rows(pairs: Iterable[tuple[Seen | None, Seen | None]]) -> list[Given]:
    """Return the rows that differ before and after they were written."""
    return [
        Given(before, None, is_deleted=True, is_gone=True)
        if after is None
        else Given(before, after.tier_id, after.values.get("deleted_at") is not None)
        for before, after in pairs
        if before != after
    ]


def given_rows(described: Described, before: Sequence[Seen | None], given: Sequence[Mapping[str, Any]]) -> list[Given]:
    """Return rows as a statement writes them, from the columns that it sets in each.

    Raises:
        InvalidInput: only the database can work out to which tier they refer.
    """
    column = TIER_COLUMNS[described.table.name]
    return [_given(described, column, seen, values) for seen, values in zip(before, given, strict=True)]


def refuse_deleted(connection: Connection, described: Described, rows: Iterable[Given]) -> None:
    """Refuse rows that give a deleted tier to somebody, or change one, or what it grants.

    Args:
        connection: where the tiers are.
        described: the table of the rows, one that refers to tiers.
        rows: all of one flush, or of one statement.

    Raises:
        TierDeleted: they do.
        StillInUse: a tier is deleted from which others inherit.
    """
    table, rows = described.table.name, list(rows)
    if wanted := {id_ for row in rows for id_ in _wanted(table, row)}:
        _refuse_given(connection, wanted)
    if table == "license_tier":
        for row in rows:
            if row.stays_deleted is not None:
                raise _deleted(row.stays_deleted)
        ending = {row.before.values["id"] for row in rows if row.before and row.was_live and row.is_deleted}
        _refuse_inherited(connection, ending - {row.before.values["id"] for row in rows if row.before and row.is_gone})


def refuse_by_itself(connection: Connection, target: Any) -> None:
    """Refuse an object that gives a deleted tier away on a connection that commits it before it is looked at.

    Raises:
        TierDeleted: it does.
    """
    state = sa.inspect(target)
    column = next((TIER_COLUMNS[table.name] for table in state.mapper.tables if table.name in TIER_COLUMNS), None)
    if column is None or getattr(target, "deleted_at", None) is not None or not commits_by_itself(connection):
        return
    added = [each for each in state.attrs[column].history.added or () if isinstance(each, UUID)]
    if added:
        _refuse_given(connection, added)


def _given(described: Described, column: str, before: Seen | None, values: Mapping[str, Any]) -> Given:
    tier_id = values.get(column, None if before is None else before.tier_id)
    if isinstance(tier_id, sa.ClauseElement) or hasattr(tier_id, "__clause_element__"):
        raise InvalidInput(
            f"What {column} of {described.table.name} would be is for the database to work out.",
            remedy="Give it as a plain value, or change objects in the session.",
            details={"table": described.table.name, "column": column},
        )
    end = values.get("deleted_at", None if before is None else before.values.get("deleted_at"))
    return Given(before, tier_id, end is not None and not isinstance(end, sa.sql.elements.Null))


def _wanted(table: str, row: Given) -> Iterable[Any]:
    """Yield the tiers that must not be deleted ones for a row to be written so."""
    old = None if row.before is None else row.before.tier_id
    if table == _GRANTS:
        yield from (id_ for id_ in (old, row.tier_id) if id_ is not None)
    elif row.tier_id is not None and not row.is_deleted and (old != row.tier_id or not row.was_live):
        yield row.tier_id


def _refuse_given(connection: Connection, tiers: Iterable[Any]) -> None:
    deleted = sa.select(TIERS.c.tier_key).where(TIERS.c.id.in_(tiers), TIERS.c.deleted_at.is_not(None))
    found = connection.execute(deleted.limit(1)).scalar()
    if found is not None:
        raise _deleted(found)


def _deleted(tier_key: str) -> TierDeleted:
    return TierDeleted(
        f"The tier {tier_key} was deleted: nobody can get it, and it stays as it is.",
        remedy="Choose another tier, leave deleted ones out (deleted_at IS NULL), or bring it back: tiers.undelete.",
        details={"tier_key": tier_key},
    )


def _refuse_inherited(connection: Connection, ending: set[Any]) -> None:
    if not ending:
        return
    heirs = sa.select(TIERS.c.tier_key).where(TIERS.c.base_tier_id.in_(ending), TIERS.c.deleted_at.is_(None))
    heirs = heirs.where(TIERS.c.id.not_in(ending))
    if keys := sorted(connection.execute(heirs).scalars()):
        raise StillInUse(
            f"Tiers inherit from what is to be deleted: {named(keys)}.",
            remedy="Give them another base first, or delete them too.",
            details={"heirs": keys},
        )
