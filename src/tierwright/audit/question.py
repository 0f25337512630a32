"""What is asked of the history, and where a page of the answer ends."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.sql.elements import ColumnElement
from sqlalchemy.types import TypeDecorator, TypeEngine

from tierwright.audit.entries import HISTORY, AuditEntry
from tierwright.errors import InvalidInput
from tierwright.types import AuditAction, AuditEntity, canonical_tenant_id, text_problem, to_utc

_LOG = HISTORY.c
_MOST_TEXT = 600


@dataclass(frozen=True, slots=True)
class AuditQuestion:
    """Which entries are wanted; what is not named does not matter.

    A feature, a tenant, a thing by its key, or a range of time is found by an index; an actor and actions are looked
    for among what those leave.

    Attributes:
        feature: entries about this feature.
        tenant: entries about this tenant, canonical from here on.
        entity: entries about things of this kind.
        entity_id: the thing, by its natural key; needs ``entity``.
        actor: who did it.
        actions: what was done, one of these.
        since: not before this moment.
        until: before this moment.
        oldest_first: the other way round.

    Raises:
        InvalidInput: a part of it cannot be meant.
    """

    feature: str | None = None
    tenant: str | int | UUID | None = None
    entity: AuditEntity | str | None = None
    entity_id: str | None = None
    actor: str | None = None
    actions: Collection[AuditAction | str] = ()
    since: datetime | None = None
    until: datetime | None = None
    oldest_first: bool = False

    def __post_init__(self) -> None:
        if self.tenant is not None:
            self._set("tenant", canonical_tenant_id(self.tenant))
        if self.entity is not None:
            self._set("entity", _member(AuditEntity, self.entity, "kind of thing"))
        actions = [self.actions] if isinstance(self.actions, str) else self.actions
        self._set("actions", tuple(_member(AuditAction, action, "action") for action in actions))
        for name in ("feature", "entity_id", "actor"):
            _check_text(name, getattr(self, name))
        for name in ("since", "until"):
            moment = getattr(self, name)
            if moment is not None:
                self._set(name, to_utc(moment))
        if self.entity_id is not None and self.entity is None:
            raise InvalidInput("The kind of the thing is missing.", remedy="Name entity= beside entity_id=.")

    def conditions(self) -> list[ColumnElement[bool]]:
        """Return what rows must fulfil."""
        wanted = {
            _LOG.feature_key: self.feature,
            _LOG.tenant_id: self.tenant,
            _LOG.entity_type: self.entity,
            _LOG.entity_id: self.entity_id,
            _LOG.performed_by: self.actor,
        }
        found: list[ColumnElement[bool]] = [column == value for column, value in wanted.items() if value is not None]
        if self.actions:
            found.append(_LOG.action.in_(sorted(self.actions)))
        if self.since is not None:
            found.append(_LOG.performed_at >= sa.literal(self.since, _Limit()))
        if self.until is not None:
            found.append(_LOG.performed_at < sa.literal(self.until, _Limit()))
        return found

    def order(self) -> list[ColumnElement[Any]]:
        """Return what to sort by; indexes have this order."""
        return [column.asc() if self.oldest_first else column.desc() for column in (_LOG.performed_at, _LOG.id)]

    def beyond(self, cursor: Cursor, stored: tuple[str, str] | None = None) -> ColumnElement[bool]:
        """Return the condition that a row comes after a place in that order.

        Args:
            cursor: the place.
            stored: its moment and its id as SQLite stores them, where they may be stored otherwise than by us.
        """
        at, at_last = _LOG.performed_at, sa.literal(cursor.performed_at, _LOG.performed_at.type)
        last = sa.literal(cursor.id, _LOG.id.type)
        if stored is not None:
            at_last, last = (sa.literal(text, sa.String()) for text in stored)
        # The first of each pair says no more than the second; alone it is one that an index understands.
        if self.oldest_first:
            return sa.and_(at >= at_last, (at > at_last) | (_LOG.id > last))
        return sa.and_(at <= at_last, (at < at_last) | (_LOG.id < last))

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)


class _Limit(TypeDecorator[datetime]):
    """A moment to compare with: SQLite compares text, and CURRENT_TIMESTAMP writes no fraction of a second."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return text for SQLite."""
        return dialect.type_descriptor(sa.String() if dialect.name == "sqlite" else sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Return the text that no form of the moment is before, and every form of an earlier one."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.replace(tzinfo=None).isoformat(" ")


@dataclass(frozen=True, slots=True)
class Cursor:
    """A place in an answer: that of an entry."""

    performed_at: datetime
    id: UUID

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """Return the place of an entry."""
        return cls(entry.performed_at, entry.id)

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Return the place that a text names.

        Raises:
            InvalidInput: it was not made by :meth:`to_text`.
        """
        try:
            moment, _, digits = base64.urlsafe_b64decode(text.encode()).decode().partition(" ")
            return cls(to_utc(datetime.fromisoformat(moment)), UUID(digits))
        except (ValueError, binascii.Error, InvalidInput):
            pass
        raise InvalidInput("This is no cursor.", remedy="Pass on what the page before has given, as it is.")

    def to_text(self) -> str:
        """Return it as text that can stand in a URL."""
        return base64.urlsafe_b64encode(f"{self.performed_at.isoformat()} {self.id.hex}".encode()).decode()


def _member(kind: type[AuditEntity] | type[AuditAction], value: Any, what: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        pass
    raise InvalidInput(f"This is no {what}.", remedy=f"One of: {', '.join(kind)}.")


def _check_text(name: str, value: Any) -> None:
    if value is None:
        return
    if not isinstance(value, str) or not value or len(value) > _MOST_TEXT or text_problem(value):
        raise InvalidInput(f"The history has no such {name}.", remedy=f"Text of 1 to {_MOST_TEXT} characters.")
