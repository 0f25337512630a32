"""Who writes and why, and the entry that every write leaves in the history."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tierwright.errors import AuditContextMissing
from tierwright.services.history_rows import as_json, insert_entries
from tierwright.services.input_errors import typed_input
from tierwright.services.session_state import announced_with
from tierwright.tables import AuditInput, FeatureAuditLog
from tierwright.types import AuditAction, AuditEntity, utc_now

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_INFO_KEY = "tierwright.audit"
_REQUIRED = "tierwright.audit_required"
_CHECKED = "tierwright.audit_checked"
_PENDING = "tierwright.audit_pending"
_COLLECTED = "tierwright.audit_collected"
_SAID = ("reason", "request_id", "ip_address", "user_agent")
#: What a session that has several databases is shown, to choose one: SQLAlchemy's own recipe for that knows an UPDATE.
_PLACE = {"mapper": sa.inspect(FeatureAuditLog), "clause": sa.update(FeatureAuditLog)}


@dataclass(frozen=True, slots=True)
class AuditContext:
    """Who acts, and from where; what the audit entries of a session say of their writes.

    Attributes:
        actor: the host's identifier of the user or process.
        reason: why, in a sentence.
        ip_address: where the request came from.
        user_agent: the client that sent it.
        request_id: the host's identifier of the request.
    """

    actor: str
    reason: str | None = None
    ip_address: str | None = None
    user_agent: str | None = None
    request_id: str | None = None

    def attach(self, session: Session | AsyncSession) -> None:
        """Make this the context of all writes of ``session``, until another one is attached.

        Objects are written when they are flushed: flush what one actor has changed before you attach another.
        """
        session.info[_INFO_KEY] = self


#: A context, and what it says by column.
_Checked = tuple[AuditContext | None, Mapping[str, str | None]]
#: By whom an entry was recorded, and what it says.
_Recorded = tuple["Journal", Mapping[str, Any]]


class Journal:
    """Collects the audit entries of one write in the session's transaction.

    Args:
        session: the session that writes.
        context: who writes, checked.
    """

    def __init__(self, session: Session, context: AuditContext) -> None:
        self.session = session
        self.context = context
        self.entries = 0

    @classmethod
    def open(cls, session: Session, actor: str | None, reason: str | None) -> Journal:
        """Return a journal for one write; runs no SQL.

        Args:
            session: the session that writes; its attached context counts where an argument is None.
            actor: who writes.
            reason: why.

        Raises:
            AuditContextMissing: neither an actor nor an attached context.
            InvalidInput: a part of the context cannot be stored.
        """
        context: AuditContext | None = session.info.get(_INFO_KEY)
        if actor is not None:
            context = AuditContext(actor) if context is None else replace(context, actor=actor)
        if context is None:
            raise _nobody()
        if reason is not None:
            context = replace(context, reason=reason)
        _said_by(session, context)
        return cls(session, context)

    def record(
        self,
        entity: AuditEntity,
        entity_id: str,
        action: AuditAction,
        *,
        old: Mapping[str, Any] | None = None,
        new: Mapping[str, Any] | None = None,
        tenant_id: str | None = None,
        feature_key: str | None = None,
    ) -> None:
        """Add the entry about one changed entity; it is written with the next flush that writes rows, or the commit.

        Args:
            entity: what kind of thing it is.
            entity_id: its natural key; this and the other keys are as their columns can hold them.
            action: what was done to it.
            old: the changed columns as they were; None where it was made.
            new: the changed columns as they are; None where it is gone.
            tenant_id: the tenant it belongs to, if any.
            feature_key: the feature it is about, if any.
        """
        own = {
            "entity": entity,
            "entity_id": entity_id,
            "action": action,
            "tenant_id": tenant_id,
            "feature_key": feature_key,
            "old": None if old is None else dict(old),
            "new": None if new is None else dict(new),
        }
        self.session.info.setdefault(_PENDING, []).append((self, own))
        self.entries += 1

    def forget(self) -> None:
        """Forget what was recorded and is not written: of objects, the session's next flush says what it does."""
        pending: list[_Recorded] = self.session.info.get(_PENDING, [])
        pending[:] = [each for each in pending if each[0] is not self]

    def record_all(self, entries: Iterable[Mapping[str, Any]]) -> None:
        """Write many entries at once, past the ORM.

        Args:
            entries: for each the arguments of :meth:`record` by their names, and keys that their columns can hold.
        """
        self.entries += _insert(self.session, self.context, entries)


def write_audit(
    session: Session,
    context: AuditContext,
    entity: AuditEntity,
    entity_id: str,
    action: AuditAction,
    *,
    old: Mapping[str, Any] | None = None,
    new: Mapping[str, Any] | None = None,
    tenant_id: str | None = None,
    feature_key: str | None = None,
) -> None:
    """Add one audit entry to the session's transaction; see :meth:`Journal.record` for the arguments.

    Raises:
        InvalidInput: a part of it cannot be stored.
    """
    _entry(context, entity, entity_id, action, tenant_id=tenant_id, feature_key=feature_key)
    journal = Journal(session, context)
    journal.record(entity, entity_id, action, old=old, new=new, tenant_id=tenant_id, feature_key=feature_key)
    write_pending(session)


def require_context(sessions: Any) -> None:
    """Refuse whatever is written of our rows in these sessions while no AuditContext is attached.

    Without it, what a host writes itself, past the services, is recorded without an actor where nobody is named.

    Args:
        sessions: a Session or AsyncSession, or what makes them: a ``sessionmaker`` or ``async_sessionmaker``.
    """
    if hasattr(sessions, "configure"):
        sessions.configure(info={**sessions.kw.get("info", {}), _REQUIRED: True})
    else:
        sessions.info[_REQUIRED] = True


def check_context(session: Session) -> None:
    """Refuse what a host is about to write itself, where :func:`note_all` would refuse to tell of it.

    Raises:
        AuditContextMissing, InvalidInput: as for :func:`note_all`.
    """
    context: AuditContext | None = session.info.get(_INFO_KEY)
    if context is None and session.info.get(_REQUIRED):
        raise _nobody()
    if context is not None:
        _said_by(session, context)


def write_pending(session: Session) -> None:
    """Write the entries that journals have recorded since they were last written."""
    pending: list[_Recorded] = session.info.pop(_PENDING, [])
    for context, recorded in groupby(pending, lambda each: each[0].context):
        _insert(session, context, (entry for _, entry in recorded))


def collect_entries(session: Session) -> list[Mapping[str, Any]]:
    """Return a list that fills with what the session writes into the history, as :meth:`Journal.record_all` takes it.

    It does not say what is rolled back later.
    """
    collected: list[Mapping[str, Any]] = session.info.setdefault(_COLLECTED, [])
    return collected


def forget_pending(session: Session) -> None:
    """Forget the entries about what was rolled back before they were written."""
    session.info.pop(_PENDING, None)


def note_all(session: Session, entries: Iterable[Mapping[str, Any]]) -> None:
    """Write the entries about what a host has written itself, with the context that is attached to its session.

    Args:
        session: the host's.
        entries: as :meth:`Journal.record_all` takes them.

    Raises:
        AuditContextMissing: there is no context, and :func:`require_context` asks for one.
        InvalidInput: a part of the context cannot be stored.
    """
    context: AuditContext | None = session.info.get(_INFO_KEY)
    if context is None and session.info.get(_REQUIRED):
        raise _nobody()
    _insert(session, context, entries)


def _insert(session: Session, context: AuditContext | None, entries: Iterable[Mapping[str, Any]]) -> int:
    shared = {**_said_by(session, context), "performed_at": utc_now()}
    connection = session.connection(bind_arguments=dict(_PLACE))
    if _COLLECTED in session.info:
        entries = [{**each, "old": as_json(each.get("old")), "new": as_json(each.get("new"))} for each in entries]
        collect_entries(session).extend(entries)
    return insert_entries(connection, shared, entries, announced_with(session, connection))


def _said_by(session: Session, context: AuditContext | None) -> Mapping[str, str | None]:
    """Return what a context says in each entry, by column; checked once for as long as the session has the same one.

    Raises:
        InvalidInput: a part of it cannot be stored.
    """
    if context is None:
        return {}
    checked: _Checked = session.info.get(_CHECKED, (None, {}))
    if checked[0] is not context:
        entry = _entry(context, AuditEntity.CATALOG, "catalog", AuditAction.UPDATED)
        checked = session.info[_CHECKED] = context, {name: getattr(entry, name) for name in ("performed_by", *_SAID)}
    return checked[1]


def _nobody() -> AuditContextMissing:
    return AuditContextMissing(
        "The write does not say who makes it.", remedy="Pass actor=, or attach an AuditContext to the session."
    )


def _entry(
    context: AuditContext | None, entity: AuditEntity, entity_id: str, action: AuditAction, **about: Any
) -> AuditInput:
    said = {} if context is None else {name: getattr(context, name) for name in _SAID}
    with typed_input("audit entry"):
        return AuditInput(
            entity_type=entity,
            entity_id=entity_id,
            action=action,
            performed_by=None if context is None else context.actor,
            **said,
            **about,
        )
