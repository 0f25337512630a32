"""What the history says of a row, table by table: the same whoever wrote it, a service or the host itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.sql.elements import ColumnElement
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.services.registry.rows import same
from tierwright.types import AuditAction, AuditEntity

Identity = tuple[str, ...]
#: By table: the column that refers to a tier.
TIER_COLUMNS: Mapping[str, str] = {
    "license_tier": "base_tier_id",
    "license_tier_features": "license_tier_id",
    "tenant_license": "license_tier_id",
}

_tables = SQLModel.metadata.tables
_CONFIGS = _tables["tenant_integration_configs"]
#: The library's own book-keeping, not what a row says.
_STAMPS = frozenset({"created_at", "updated_at"})
#: What the probes write; no setting.
_HEALTH = frozenset({"last_health_check", "health_status", "failure_count", "success_count"})
#: Follows the key of a deleted tier where a row refers to it: another tier may have that key by now.
GONE = " (deleted)"
#: The names of what is read beside the values of a row.
_FEATURE, _TIER = "of_feature", "of_tier"
#: So many rows are asked for at once; SQLite takes 32,766 parameters, and a key has up to two columns.
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Seen:
    """A row as the database had it at one moment.

    Attributes:
        identity: its primary key, as text.
        values: what the history may compare, by name; not all of it is ever shown.
        feature_key: the feature that it is about.
        tier_id: the tier to which it refers: several may have had the same key.
    """

    identity: Identity
    values: Mapping[str, Any] = field(repr=False)
    feature_key: str | None
    tier_id: Any = None


@dataclass(frozen=True, eq=False)
class Described:
    """How one table is told of.

    Attributes:
        entity: what its rows are called.
        table: the table.
        keys: the names of the values that make the ``entity_id``, in their order.
        unshown: values that are only told where they change.
        contents: values that are never told, only that they changed.
        always: values that are told with every change.
        switch: the flag that enables and disables.
        end: the moment at which it was deleted, for what stays as a row.
    """

    entity: AuditEntity
    table: sa.Table
    keys: tuple[str, ...]
    unshown: frozenset[str] = frozenset({"id"})
    contents: frozenset[str] = frozenset()
    always: frozenset[str] = frozenset()
    switch: str | None = "is_active"
    left_out: frozenset[str] = _STAMPS
    end: str | None = None

    def primary_key(self) -> list[sa.Column[Any]]:
        """Return the columns of the primary key."""
        return list(self.table.primary_key.columns)

    def seen(self, row: Any) -> Seen:
        """Return what a row of :meth:`select` says."""
        names, keys = _statements(self)[:2]
        values = dict(zip(names, row, strict=True))
        feature_key = values.pop(_FEATURE, values.get("feature_key"))
        return Seen(tuple(str(values[key]) for key in keys), values, feature_key, values.pop(_TIER, None))

    def select(self) -> sa.Select[Any]:
        """Return what reads rows: the values, and the feature and the tier where these are not among them."""
        return _statements(self).rows

    def locked(self, connection: Connection, statement: sa.Select[Any], parameters: Any = None) -> list[Seen]:
        """Return rows that nobody else changes until the transaction ends."""
        return [self.seen(row) for row in connection.execute(self._locking(statement), parameters or {})]

    def locked_one(self, connection: Connection, identity: tuple[Any, ...]) -> list[Seen]:
        """Return the row with a primary key, if it is there; nobody else changes it until the transaction ends."""
        return [self.seen(row) for row in connection.execute(_statements(self).one_locked, _parameters(identity))]

    def read(self, connection: Connection, identities: Sequence[tuple[Any, ...]]) -> dict[Identity, Seen]:
        """Return the rows with these primary keys, those that there are."""
        found: dict[Identity, Seen] = {}
        if len(identities) == 1:  # most writes are of one row
            rows = connection.execute(_statements(self).one, _parameters(identities[0]))
            return {seen.identity: seen for seen in map(self.seen, rows)}
        for start in range(0, len(identities), _CHUNK):
            statement = self.select().where(self.is_one_of(identities[start : start + _CHUNK]))
            found.update((seen.identity, seen) for seen in map(self.seen, connection.execute(statement)))
        return found

    def is_one_of(self, identities: Iterable[tuple[Any, ...]]) -> ColumnElement[bool]:
        """Return the condition that a row has one of these primary keys."""
        columns = self.primary_key()
        if len(columns) == 1:
            return columns[0].in_([identity[0] for identity in identities])
        keys, pair = list(identities), sa.tuple_(*columns)
        # In parts: PostgreSQL goes as deep into a list of pairs as it is long, and 10,000 are deeper than its stack.
        parts = [pair.in_(keys[start : start + _CHUNK]) for start in range(0, len(keys), _CHUNK)]
        return sa.or_(*parts) if parts else sa.false()

    def _locking(self, statement: sa.Select[Any]) -> sa.Select[Any]:
        return statement.with_for_update(of=self.table, key_share=True)

    def changes(self, before: Seen | None, after: Seen | None) -> list[dict[str, Any]]:
        """Return the entries about one row, as :meth:`Journal.record_all` takes them; none where nothing changed.

        A row that is called otherwise afterwards has an entry under each name.
        """
        if before is None or after is None:
            return self._made_or_gone(before, after)
        changed = [name for name in after.values if not same(before.values[name], after.values[name])]
        if not changed:
            return []
        told = {name for name in changed if name not in self.contents}
        old = {name: before.values[name] for name in changed if name in told}
        new = {name: after.values[name] for name in after.values if name in told or name in self.always}
        hidden = sorted(self.contents.intersection(changed))
        if hidden:
            new["changed"] = hidden
        names = dict.fromkeys(map(self._name, (before, after)))
        return [self._entry(name, self._action(changed, after), after, old or None, new) for name in names]

    def _made_or_gone(self, before: Seen | None, after: Seen | None) -> list[dict[str, Any]]:
        seen = after or before
        if seen is None:
            return []
        shown = {name: value for name, value in seen.values.items() if name not in self.unshown | self.contents}
        if after is None:
            return [self._entry(self._name(seen), AuditAction.DELETED, seen, shown, None)]
        return [self._entry(self._name(seen), AuditAction.CREATED, seen, None, shown)]

    def _action(self, changed: list[str], after: Seen) -> AuditAction:
        if self.end in changed:
            return AuditAction.RESTORED if after.values[self.end] is None else AuditAction.ARCHIVED
        if self.switch not in changed:
            return AuditAction.UPDATED
        return AuditAction.ENABLED if after.values[self.switch] else AuditAction.DISABLED

    def _name(self, seen: Seen) -> str:
        return "/".join(str(seen.values[key]) for key in self.keys)

    def _entry(
        self, name: str, action: AuditAction, seen: Seen, old: dict[str, Any] | None, new: dict[str, Any] | None
    ) -> dict[str, Any]:
        return {
            "entity": self.entity,
            "entity_id": name,
            "action": action,
            "old": old,
            "new": new,
            "tenant_id": seen.values.get("tenant_id"),
            "feature_key": seen.feature_key,
        }


class _Statements(NamedTuple):
    """What reads the rows of a table; built once, because that takes longer than to run it."""

    names: tuple[str, ...]
    keys: tuple[str, ...]
    rows: sa.Select[Any]
    one: sa.Select[Any]
    one_locked: sa.Select[Any]


@cache
def _statements(described: Described) -> _Statements:
    columns = [column for column in described.table.c if column.name not in described.left_out]
    values = dict(_told(column.name, column) for column in columns) | _besides(described.table)
    key = described.primary_key()
    rows = sa.select(*(column.label(name) for name, column in values.items()))
    one = rows.where(*(column == sa.bindparam(f"key_{at}", type_=column.type) for at, column in enumerate(key)))
    return _Statements(tuple(values), tuple(column.name for column in key), rows, one, described._locking(one))


def _parameters(identity: tuple[Any, ...]) -> dict[str, Any]:
    return {f"key_{at}": part for at, part in enumerate(identity)}


def _besides(table: sa.Table) -> dict[str, ColumnElement[Any]]:
    """Return what is read of a row beside its values."""
    found: dict[str, ColumnElement[Any]] = {}
    if table is _CONFIGS:
        of = _tables["integration_registry"].c
        registered = sa.select(of.feature_key).where(of.integration_key == _CONFIGS.c.integration_key)
        found[_FEATURE] = registered.scalar_subquery()
    if table.name in TIER_COLUMNS:
        found[_TIER] = table.c[TIER_COLUMNS[table.name]]
    return found


def _told(name: str, column: sa.Column[Any]) -> tuple[str, ColumnElement[Any]]:
    """Return how a column is told of: a tier by its key, contents as text, because they are only compared."""
    if name in ("base_tier_id", "license_tier_id"):
        tier = _tables["license_tier"].alias()
        named = sa.case((tier.c.deleted_at.is_(None), tier.c.tier_key), else_=tier.c.tier_key + GONE)
        key = sa.select(named).where(tier.c.id == column).scalar_subquery()
        return ("base" if name == "base_tier_id" else "tier_key"), key
    return name, (sa.cast(column, sa.Text()) if column is _CONFIGS.c.config else column)


_PAIR = frozenset({"id", "tier_key", "feature_key", "tenant_id", "license_key", "integration_key"})
#: By the name of a table: how its rows are told of. Every table has its line, except the history and our counters.
DESCRIBED = {
    described.table.name: described
    for described in (
        Described(
            AuditEntity.FEATURE, _tables["feature_registry"], ("feature_key",), contents=frozenset({"created_by"})
        ),
        Described(
            AuditEntity.TIER,
            _tables["license_tier"],
            ("tier_key",),
            unshown=frozenset({"id", "deleted_at"}),
            end="deleted_at",
        ),
        Described(
            AuditEntity.TIER_FEATURE,
            _tables["license_tier_features"],
            ("tier_key", "feature_key"),
            unshown=_PAIR,
            switch=None,
        ),
        Described(
            AuditEntity.TENANT_LICENSE,
            _tables["tenant_license"],
            ("tenant_id", "license_key"),
            unshown=_PAIR - {"tier_key"},
            switch=None,
        ),
        Described(
            AuditEntity.TENANT_OVERRIDE,
            _tables["tenant_feature_override"],
            ("tenant_id", "feature_key"),
            unshown=_PAIR,
            switch=None,
        ),
        Described(AuditEntity.MODEL, _tables["model_registry"], ("provider", "model_id")),
        Described(AuditEntity.COMPONENT, _tables["component_registry"], ("component_key",)),
        Described(AuditEntity.INTEGRATION, _tables["integration_registry"], ("integration_key",)),
        Described(
            AuditEntity.TENANT_INTEGRATION,
            _CONFIGS,
            ("tenant_id", "integration_key"),
            unshown=_PAIR,
            contents=frozenset({"config", "encrypted_config", "created_by"}),
            always=frozenset({"config_version", "secret_version"}),
            switch="is_enabled",
            left_out=_STAMPS | _HEALTH,
        ),
    )
}
