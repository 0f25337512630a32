"""The history, asked: a page at a time for people, as a stream for machines."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.audit.entries import AuditEntry
from tierwright.audit.pages import paged_rows
from tierwright.audit.question import AuditQuestion, Cursor
from tierwright.audit.reading import UnreadableRow, readable
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
        unreadable: rows among them that cannot be read as entries, and are left out; the limit does not count them.
    """

    entries: tuple[AuditEntry, ...]
    next: str | None
    unreadable: tuple[UnreadableRow, ...] = ()


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
        entries: list[AuditEntry] = []
        unreadable: list[UnreadableRow] = []
        before = 0  # unreadable ones before the last entry: those behind it belong to the next page
        for row in self._rows(question, begins, limit + 1):
            if isinstance(row, UnreadableRow):
                unreadable.append(row)
            elif len(entries) == limit:
                return AuditPage(tuple(entries), Cursor.of(entries[-1]).to_text(), tuple(unreadable[:before]))
            else:
                entries.append(row)
                before = len(unreadable)
        return AuditPage(tuple(entries), None, tuple(unreadable))

    def stream(
        self, question: AuditQuestion = _EVERYTHING, *, unreadable: Callable[[UnreadableRow], object] | None = None
    ) -> Iterator[AuditEntry]:
        """Yield all entries that are wanted; a million need no more memory than a thousand.

        Args:
            question: which. What is recorded meanwhile is among them or is not.
            unreadable: called with each row that cannot be read as an entry, and is left out.

        Raises:
            HistoryUnreadable: there is such a row, and ``unreadable`` was not given.
            PrivilegeMissing: row-level security hides entries from the current role.
        """
        return readable(self._rows(question, None, _STREAMED), unreadable)

    def _rows(self, question: AuditQuestion, begins: Cursor | None, size: int) -> Iterator[AuditEntry | UnreadableRow]:
        return paged_rows(lambda: self._asked(question), question, size, begins)

    @contextmanager
    def _asked(self, question: AuditQuestion) -> Iterator[Connection]:
        connection = connection_of(self._session, writing=False)
        with _scope(connection, question):
            yield connection


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


def _scope(connection: Connection, question: AuditQuestion) -> AbstractContextManager[None]:
    if question.tenant is not None:
        return tenant_scope(connection, str(question.tenant))
    require_all_tenants(connection)
    return nullcontext()
