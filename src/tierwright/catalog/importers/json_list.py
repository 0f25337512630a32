"""Reading a list that is JSON: numbers keep their digits, and what stands in an object twice is remembered."""

from __future__ import annotations

import json
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

from tierwright.errors import InvalidInput

_REMEDY = "Pass the list as it is published."


class JsonObject(dict[str, Any]):
    """A JSON object; ``twice`` has the keys that stood in it more than once, where the last one won."""

    twice: frozenset[str] = frozenset()


def read_object(file: Path | bytes) -> JsonObject:
    """Return the JSON object in a file: decimals as Decimal, whole numbers as int, NaN and infinity as text.

    Raises:
        InvalidInput: it cannot be read, or is not a JSON object.
    """
    try:
        text = (file if isinstance(file, bytes) else file.read_bytes()).decode("utf-8-sig")
        found = json.loads(text, parse_float=_number, parse_constant=str, object_pairs_hook=_object)
    except OSError as error:
        raise InvalidInput(f"The list cannot be read: {error.strerror}.", remedy="Check the path.") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        place = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise InvalidInput(f"The list is not JSON{place}.", remedy=_REMEDY) from None
    if not isinstance(found, JsonObject):
        raise InvalidInput("The list is not a JSON object.", remedy=_REMEDY)
    return found


def _number(text: str) -> Decimal | str:
    try:
        return Decimal(text)
    except InvalidOperation:  # an exponent that no decimal can have
        return text


def _object(pairs: list[tuple[str, Any]]) -> JsonObject:
    found = JsonObject(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        found.twice = frozenset(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
    return found
