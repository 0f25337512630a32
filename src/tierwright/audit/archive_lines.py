"""A row of the history as a line of an archive, and back: exactly, and alike from SQLite and PostgreSQL.

A line is a JSON object of the columns that are not NULL, so that NULL and JSON's null stay apart. JSON stands in it as
the database wrote it: no number passes through a float. Other values are texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from tierwright.audit.entries import NAMES, AuditEntry
from tierwright.audit.reading import UnreadableRow, item

#: The columns whose values are JSON.
JSON_COLUMNS = frozenset({"old_value", "new_value"})
#: After the name of a column whose value is no text, or no JSON where JSON is expected: bytes in hexadecimal, a text.
AS_HEX, AS_TEXT = "!hex", "!text"
#: What is nested deeper than Python reads, in pieces.
_PIECE = re.compile(r'"(?:[^"\\]|\\.)*"|[\[{]|[\]}]|[^"\[\]{}]+')
_STORED_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d)(?:\.(\d{1,6}))?")
_WRITTEN_MOMENT = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d\.\d{6})Z")


def quoted(text: str) -> str:
    """Return a text as JSON."""
    return json.dumps(text, ensure_ascii=False)


def line_of(columns: Sequence[str], values: Sequence[str | None]) -> str:
    """Return the line of a row whose values are texts already, of JSON where the column is of it; None is NULL."""
    parts = [
        f"{quoted(name)}:{value if name in JSON_COLUMNS else quoted(value)}"
        for name, value in zip(columns, values, strict=True)
        if value is not None
    ]
    return "{" + ",".join(parts) + "}"


def line_of_stored(columns: Sequence[str], values: Sequence[Any]) -> str:
    """Return the line of a row as SQLite stores it, whatever somebody may have put in."""
    parts = [_of_stored(name, value) for name, value in zip(columns, values, strict=True) if value is not None]
    return "{" + ",".join(parts) + "}"


def split(line: str) -> dict[str, str]:
    """Return the JSON of each value of a line by its key, unread.

    Raises:
        ValueError: it is no JSON object.
    """
    found: dict[str, str] = {}
    if not line.startswith("{"):
        raise ValueError("no JSON object")
    position = 1
    while line[position : position + 1] != "}":
        key, colon = _DECODER.raw_decode(line, position)
        end = _end_of(line, colon + 1)
        if line[colon : colon + 1] != ":" or line[end : end + 1] not in (",", "}") or not isinstance(key, str):
            raise ValueError("no JSON object")
        if key in found:
            raise ValueError("a key twice")
        found[key] = line[colon + 1 : end]
        position = end + (line[end] == ",")
    if position != len(line) - 1:
        raise ValueError("more than an object")
    return found


def values_of(line: str) -> dict[str, str | bytes]:
    """Return the values of a line by their columns: texts, and bytes; JSON as its text.

    Raises:
        ValueError: it is no line of an archive.
    """
    found: dict[str, str | bytes] = {}
    for key, raw in split(line).items():
        if key.endswith(AS_HEX):
            found[key.removesuffix(AS_HEX)] = bytes.fromhex(_text(raw))
        elif key.endswith(AS_TEXT):
            found[key.removesuffix(AS_TEXT)] = _text(raw)
        elif key in JSON_COLUMNS or not raw.startswith('"'):
            found[key] = raw
        else:
            found[key] = json.loads(raw)
    return found


def entry_of(values: Mapping[str, str | bytes], where: str) -> AuditEntry | UnreadableRow:
    """Return the entry of a line, for what asks the history; or what of it cannot be read, and could not be before.

    Args:
        values: of the line, as :func:`values_of` returns them.
        where: which line it is.
    """
    stored = [stored_value(name, values[name]) if name in values else None for name in NAMES]
    return item(stored, where, is_archived=True)


def stored_value(column: str, value: str | bytes) -> Any:
    """Return a value of a line as SQLite stores it."""
    if isinstance(value, bytes):
        return value
    if column == "id":
        return _or_as_it_is(lambda: UUID(value).hex, value)
    if column == "performed_at" and (found := _WRITTEN_MOMENT.fullmatch(value)):
        return f"{found[1]} {found[2]}"
    return value


def forms_of_id(id_: UUID) -> tuple[str, str, str, str]:
    """Return an id in the forms in which SQLite may have it: ours first, and those in which others write one."""
    return id_.hex, str(id_), id_.hex.upper(), str(id_).upper()


def _text(raw: str) -> str:
    if not raw.startswith('"'):
        raise ValueError("no text")
    return str(json.loads(raw))


def _end_of(line: str, start: int) -> int:
    """Return where a value ends; one that is nested too deeply for Python is only looked at for its brackets."""
    try:
        return _DECODER.raw_decode(line, start)[1]
    except RecursionError:
        depth = 0
        for piece in _PIECE.finditer(line, start):
            depth += {"[": 1, "{": 1, "]": -1, "}": -1}.get(piece[0], 0)
            if depth == 0:
                return piece.end()
        raise ValueError("no end") from None


def moment_text(moment: datetime) -> str:
    """Return a moment as lines have it."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def _of_stored(name: str, value: Any) -> str:
    if isinstance(value, bytes):
        return f"{quoted(name + AS_HEX)}:{quoted(value.hex())}"
    if isinstance(value, int | float):  # what was too large a number is infinite, and there is no other JSON for that
        return f"{quoted(name)}:{repr(value).replace('inf', '9e999')}"
    if name in JSON_COLUMNS:
        # A break can only be between its parts: within a text, JSON has none.
        return (
            f"{quoted(name)}:{value.translate({10: ' ', 13: ' '})}"
            if _is_json(value)
            else f"{quoted(name + AS_TEXT)}:{quoted(value)}"
        )
    return f"{quoted(name)}:{quoted(_written(name, value))}"


def _written(name: str, value: str) -> str:
    if name == "id":
        return _or_as_it_is(lambda: str(UUID(value)), value)
    if name == "performed_at" and (found := _STORED_MOMENT.fullmatch(value)):
        return f"{found[1]}T{found[2]}.{(found[3] or '').ljust(6, '0')}Z"
    return value


def _is_json(text: str) -> bool:
    try:
        _DECODER.decode(text)
    except (ValueError, RecursionError):
        return False
    return True


def _no_constant(name: str) -> None:
    raise ValueError(name)


#: Numbers stay texts: Python reads none of more than 4,300 digits.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)


def _or_as_it_is(convert: Callable[[], str], value: str) -> str:
    try:
        return convert()
    except ValueError:
        return value
