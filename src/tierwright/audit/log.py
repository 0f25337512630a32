"""The history, asked: a page at a time for people, as a stream for machines."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.audit.entries import HISTORY, SELECT_ENTRIES, AuditEntry
from tierwright.audit.question import AuditQuestion, Cursor
from tierwright.errors import InvalidInput
from tierwright.services.given import require_async_session, require_session
from tierwright.services.session_state import connection_of
from tierwright.services.tenant_scope import require_all_tenants, tenant_scope

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

_EVERYTHING = AuditQuestion()
_MOST = 1000
#: Rows that a stream holds at once.
_STREAMED = 1000


@dataclass(frozen=True, slots=True)
class AuditPage:
    """Some entries.

    Attributes:
        entries: in the order of the question.
        next: where the next page begins; None where there is none.
    """

    entries: tuple[AuditEntry, ...]
    next: str | None


class AuditLog:
    """The history, through a host's session.

    With row-level security on, a question about one tenant is asked for that tenant; any other needs a role that sees
    all of them.

    Args:
        session: the host's session.

    Raises:
        SessionMissing: it is none.
    """

    def __init__(self, session: Session) -> None:
        require_session(session, for_async="Use AsyncAuditLog.")
        self._session = session

    def page(self, question: AuditQuestion = _EVERYTHING, *, limit: int = 50, cursor: str | None = None) -> AuditPage:
        """Return some entries, the newest first unless the question says otherwise.

        Args:
            question: which.
            limit: at most so many; 1 to 1,000.
            cursor: what the page before has given as ``next``, with the same question.

        Raises:
            InvalidInput: the limit or the cursor is none.
            PrivilegeMissing: row-level security hides entries from the current role.
        """
        if type(limit) is not int or not 1 <= limit <= _MOST:
            raise InvalidInput("This is no limit.", remedy=f"1 to {_MOST:,}; audit export has no limit.")
        begins = None if cursor is None else Cursor.from_text(cursor)
        found = self._read(question, begins, limit + 1)
        entries = tuple(found[:limit])
        return AuditPage(entries, Cursor.of(entries[-1]).to_text() if len(found) > limit else None)

    def stream(self, question: AuditQuestion = _EVERYTHING) -> Iterator[AuditEntry]:
        """Yield all entries that are wanted; a million need no more memory than a thousand.

        Args:
            question: which. What is recorded meanwhile is among them or is not.

        Raises:
            PrivilegeMissing: row-level security hides entries from the current role.
        """
        begins: Cursor | None = None
        while page := self._read(question, begins, _STREAMED):
            yield from page
            if len(page) < _STREAMED:
                return
            begins = Cursor.of(page[-1])

    def _read(self, question: AuditQuestion, begins: Cursor | None, limit: int) -> list[AuditEntry]:
        connection = connection_of(self._session, writing=False)
        conditions = question.conditions() + (
            [] if begins is None else [question.beyond(begins, _stored(connection, begins))]
        )
        statement = SELECT_ENTRIES.where(sa.true(), *conditions).order_by(*question.order()).limit(limit)
        with _scope(connection, question):
            return [AuditEntry(*row) for row in connection.execute(statement)]


class AsyncAuditLog:
    """As :class:`AuditLog`, over an ``AsyncSession``.

    Args:
        session: the host's session.

    Raises:
        SessionMissing: it is no AsyncSession.
    """

    def __init__(self, session: AsyncSession) -> None:
        require_async_session(session, for_sync="Use AuditLog.")
        self._session = session

    async def page(
        self, question: AuditQuestion = _EVERYTHING, *, limit: int = 50, cursor: str | None = None
    ) -> AuditPage:
        """Return some entries; see :meth:`AuditLog.page`."""
        return await self._session.run_sync(
            lambda session: AuditLog(session).page(question, limit=limit, cursor=cursor)
        )


def _stored(connection: Connection, place: Cursor) -> str | None:
    """Return the moment of an entry as SQLite stores and sorts it, where CURRENT_TIMESTAMP may have written it."""
    if connection.dialect.name != "sqlite" or place.performed_at.microsecond:
        return None
    moment = sa.type_coerce(HISTORY.c.performed_at, sa.String())
    second = place.performed_at.replace(tzinfo=None).isoformat(" ")
    found = connection.execute(sa.select(moment).where(HISTORY.c.id == place.id, moment.startswith(second)))
    return found.scalars().first()


def _scope(connection: Connection, question: AuditQuestion) -> AbstractContextManager[None]:
    if question.tenant is not None:
        return tenant_scope(connection, str(question.tenant))
    require_all_tenants(connection)
    return nullcontext()
