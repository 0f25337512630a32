"""Refusing what is no session where it is passed, and not by an AttributeError deep inside of a question."""

from __future__ import annotations

from typing import Any

from sqlalchemy.orm import Session, scoped_session

from tierwright.errors import SessionMissing

_SESSION = "Pass a session, such as Session(engine)."


def require_session(given: Any, *, for_async: str) -> None:
    """Refuse an engine, a connection, a session factory or an ``AsyncSession`` in the place of a session.

    Args:
        given: what was passed.
        for_async: what to do with an ``AsyncSession``.

    Raises:
        SessionMissing: it is no session.
    """
    if not isinstance(given, Session | scoped_session):
        raise no_session(given, for_async=for_async)


def require_async_session(given: Any, *, for_sync: str) -> None:
    """Refuse anything but an ``AsyncSession``.

    Args:
        given: what was passed.
        for_sync: what to do with a session that is not asynchronous.

    Raises:
        SessionMissing: it is none.
    """
    if not hasattr(given, "sync_session"):  # its class cannot be imported where greenlet is missing
        remedy = for_sync if isinstance(given, Session) else "Pass an AsyncSession."
        raise SessionMissing(f"{named(given)} is no AsyncSession.", remedy=remedy)


def no_session(given: Any, *, for_async: str) -> SessionMissing:
    """Return the error about what is no session."""
    remedy = for_async if hasattr(given, "sync_session") else _SESSION
    if isinstance(given, scoped_session):
        remedy = "Call it first: it is another session in each thread."
    return SessionMissing(f"{named(given)} is no Session.", remedy=remedy)


def named(given: Any) -> str:
    """Return the class of something, with its article."""
    name = type(given).__name__
    return f"{'An' if name[:1] in 'AEIOUaeiou' else 'A'} {name}"
