"""What commands are given as text: who writes, moments, windows, JSON."""

from __future__ import annotations

import getpass
import json
import re
from datetime import datetime, timedelta
from typing import Any, TypedDict
from uuid import UUID

from tierwright.errors import InvalidInput
from tierwright.services.audit import AuditContext
from tierwright.types import to_utc, utc_now

_SPAN = re.compile(r"([0-9]{1,5})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 24 * 7}


def author(actor: str | None, reason: str | None) -> AuditContext:
    """Return who writes: the user of the operating system, unless somebody else is named."""
    return AuditContext(actor if actor is not None else _os_user(), reason)


def moment(text: str | None) -> datetime | None:
    """Return a moment in UTC.

    Raises:
        InvalidInput: it is not ISO 8601, or has no time zone.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput("This is not a moment.", remedy="Write it like 2026-01-31T12:00Z.") from None
    if found.utcoffset() is None:
        raise InvalidInput("The moment has no time zone.", remedy="Write it like 2026-01-31T12:00Z.")
    return to_utc(found)


def uuid(option: str, text: str | None) -> UUID | None:
    """Return an id.

    Raises:
        InvalidInput: it is none.
    """
    try:
        return None if text is None else UUID(text)
    except ValueError:
        raise InvalidInput(f"{option} is not an id.", remedy="`tierwright tier list --deleted` shows them.") from None


def later(start: datetime, span: str) -> datetime:
    """Return the moment that lies a span such as ``14d`` behind another one.

    Raises:
        InvalidInput: it is no span.
    """
    found = _SPAN.fullmatch(span)
    if found is None:
        raise InvalidInput("This is not a span of time.", remedy="Write it like 12h, 14d or 2w.")
    return start + timedelta(hours=int(found[1]) * _HOURS[found[2]])  # 99,999 weeks are not too many for a datetime


class Window(TypedDict):
    """When something is valid, as the writes take it."""

    starts_at: datetime | None
    expires_at: datetime | None


def window(starts: str | None, expires: str | None, days: int | None) -> Window:
    """Return the window of a licence or override as the writes take it.

    Raises:
        InvalidInput: an end is no moment, or is given twice.
    """
    if days is None:
        return {"starts_at": moment(starts), "expires_at": moment(expires)}
    if expires is not None:
        raise InvalidInput("The end is given twice.", remedy="Give either --days or --expires.")
    return {"starts_at": moment(starts), "expires_at": later(utc_now(), f"{days}d")}


def parsed(text: str, what: str, **options: Any) -> Any:
    """Return what a JSON text says.

    Raises:
        InvalidInput: it is not JSON, or too deep or long to be read.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant, **options)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{what} is not JSON.", remedy="Write it like 25, true, '\"eu\"' or '{\"a\": 1}'.") from None


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return "unknown"
