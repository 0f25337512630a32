"""The JSON objects that commands are given: in options, in a file, or on standard input."""

from __future__ import annotations

import sys
from collections.abc import Collection, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from tierwright.cli.inputs import parsed
from tierwright.errors import InvalidInput

_LONGEST_FILE = 10_000_000


def value(text: str | None, unlimited: bool, off: bool) -> dict[str, Any]:
    """Return the value document that the options --value, --unlimited and --off describe.

    Raises:
        InvalidInput: they exclude each other, or the value is not JSON.
    """
    if sum((text is not None, unlimited, off)) > 1:
        raise InvalidInput("Only one of --value, --unlimited and --off can be given.", remedy="Leave the others out.")
    if text is not None:
        return {"enabled": True, "value": parsed(text, "--value")}
    return {"enabled": True, "unlimited": True} if unlimited else {"enabled": not off}


def from_file(name: str | None, exact: Collection[str] = ()) -> dict[str, Any]:
    """Return the JSON object in a file, or on standard input for ``-``; {} for None.

    Args:
        name: of the file.
        exact: fields whose numbers must not pass through a float.

    Raises:
        InvalidInput: it cannot be read, or is not a JSON object.
    """
    if name is None:
        return {}
    text = _text_of(name)
    found = parsed(text, "The input of --from")
    if not isinstance(found, dict):
        raise InvalidInput("The input of --from is not a JSON object.", remedy="Write it like '{\"a\": 1}'.")
    if exact:
        digits = parsed(text, "The input of --from", parse_float=Decimal)
        found |= {field: digits[field] for field in exact if field in digits}
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
