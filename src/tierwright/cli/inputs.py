"""What commands are given as text: moments, spans, JSON, and files of JSON."""

from __future__ import annotations

import getpass
import json
import re
import sys
from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from tierwright.errors import InvalidInput
from tierwright.services.audit import AuditContext
from tierwright.types import to_utc, utc_now

_SPAN = re.compile(r"([0-9]{1,5})([hdw])")
_HOURS = {"h": 1, "d": 24, "w": 24 * 7}
_LONGEST_FILE = 10_000_000


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


def later(start: datetime, span: str) -> datetime:
    """Return the moment that lies a span such as ``14d`` behind another one.

    Raises:
        InvalidInput: it is no span, or leads beyond the year 9999.
    """
    found = _SPAN.fullmatch(span)
    if found is None:
        raise InvalidInput("This is not a span of time.", remedy="Write it like 12h, 14d or 2w.")
    try:
        return start + timedelta(hours=int(found[1]) * _HOURS[found[2]])
    except OverflowError:
        raise InvalidInput("The span leads beyond the year 9999.", remedy="Give a shorter one.") from None


def window(starts: str | None, expires: str | None, days: int | None) -> dict[str, datetime | None]:
    """Return the window of a licence or override as the writes take it.

    Raises:
        InvalidInput: an end is no moment, or is given twice.
    """
    if days is None:
        return {"starts_at": moment(starts), "expires_at": moment(expires)}
    if expires is not None:
        raise InvalidInput("The end is given twice.", remedy="Give either --days or --expires.")
    return {"starts_at": moment(starts), "expires_at": later(utc_now(), f"{days}d")}


def parsed(text: str, what: str) -> Any:
    """Return what a JSON text says.

    Raises:
        InvalidInput: it is not JSON, or too deep or long to be read.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise InvalidInput(f"{what} is not JSON.", remedy="Write it like 25, true, '\"eu\"' or '{\"a\": 1}'.") from None


def document(value: str | None, unlimited: bool, off: bool) -> dict[str, Any]:
    """Return the value document that the options --value, --unlimited and --off describe.

    Raises:
        InvalidInput: they exclude each other, or the value is not JSON.
    """
    if sum((value is not None, unlimited, off)) > 1:
        raise InvalidInput("Only one of --value, --unlimited and --off can be given.", remedy="Leave the others out.")
    if value is not None:
        return {"enabled": True, "value": parsed(value, "--value")}
    return {"enabled": True, "unlimited": True} if unlimited else {"enabled": not off}


def from_file(name: str | None) -> dict[str, Any]:
    """Return the JSON object in a file, or on standard input for ``-``; {} for None.

    Raises:
        InvalidInput: it cannot be read, or is not a JSON object.
    """
    if name is None:
        return {}
    found = parsed(_text_of(name), "The input of --from")
    if not isinstance(found, dict):
        raise InvalidInput("The input of --from is not a JSON object.", remedy="Write it like '{\"a\": 1}'.")
    return found


def fields(
    given: Mapping[str, Any], key: Mapping[str, str], options: Mapping[str, Any], known: Collection[str]
) -> dict[str, Any]:
    """Return the fields of a file with those given as options, which win; without the key, which is an argument.

    Args:
        given: what the file says.
        key: the arguments, by the fields that they are.
        options: by field; None is "not given".
        known: the fields that there are.

    Raises:
        InvalidInput: there is no such field, or the file is about something else.
    """
    for name, value in given.items():
        if name not in known:
            raise InvalidInput(f"There is no field {name[:80]!a}.", remedy=f"Fields: {', '.join(sorted(known))}.")
        if name in key and value != key[name]:
            raise InvalidInput(f"The file has another {name} than the command.", remedy="Leave it out of the file.")
    merged = {name: value for name, value in given.items() if name not in key}
    return merged | {name: value for name, value in options.items() if value is not None}


def _text_of(name: str) -> str:
    try:
        if name == "-":
            return _bounded(sys.stdin.read(_LONGEST_FILE + 1))
        with Path(name).open(encoding="utf-8") as file:
            return _bounded(file.read(_LONGEST_FILE + 1))
    except (OSError, ValueError) as error:  # no such file; not UTF-8; a NUL in its name
        problem = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidInput(f"The input of --from cannot be read: {problem}.", remedy="Check the file.") from None


def _bounded(text: str) -> str:
    if len(text) > _LONGEST_FILE:
        raise InvalidInput("The input of --from is too long.", remedy="Give one object of a few kilobytes.")
    return text


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)


def _os_user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container's user without a name
        return "unknown"
