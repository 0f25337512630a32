"""What a JSON column may hold, and what a feature's value document looks like."""

from __future__ import annotations

import json
import math
from typing import Any

from tierwright.errors import InvalidInput
from tierwright.types import FeatureType, text_problem

MAX_BYTES = 64 * 1024
MAX_DEPTH = 32
MAX_INTEGER = 2**53 - 1

_DOCUMENT_KEYS = {"enabled", "value", "unlimited"}
_COUNTABLE = {FeatureType.INTEGER, FeatureType.NUMBER}
_PYTHON_TYPES: dict[FeatureType, tuple[type, ...]] = {
    FeatureType.BOOLEAN: (bool,),
    FeatureType.INTEGER: (int,),
    FeatureType.NUMBER: (int, float),
    FeatureType.STRING: (str,),
}


def check_json(value: Any) -> Any:
    """Return a copy of ``value`` that every JSON column can hold and give back unchanged.

    Args:
        value: dicts with text keys, lists, text, numbers, booleans and None, at any depth up to 32.

    Returns:
        The same document in new containers, so that later changes of the argument do not reach the database.

    Raises:
        InvalidInput: another type, NaN or infinity, a whole number beyond ±(2**53 - 1), a NUL or lone surrogate,
            deeper than 32 or longer than 64 KiB of UTF-8.
    """
    copy = _Copying().copy(value, "$", 0)
    size = len(json.dumps(copy, ensure_ascii=False, separators=(",", ":")).encode())
    if size > MAX_BYTES:
        raise _bad("$", f"the document has {size} bytes, more than {MAX_BYTES}")
    return copy


def check_value_document(document: Any, feature_type: FeatureType | None = None, *, complete: bool = False) -> Any:
    """Return a copy of the value document of a feature, tier or override.

    Args:
        document: ``{"enabled": bool, "value": typed}``, or ``"unlimited": true`` in place of the value.
        feature_type: the feature's type, where it is known; then the value is checked against it.
        complete: whether a value (or ``unlimited``) is required, as in the registry's default.

    Returns:
        The document in new containers.

    Raises:
        InvalidInput: the document has another shape, or its value another type.
    """
    if not isinstance(document, dict):
        raise _bad("$", "a value document is an object", 'Write {"enabled": true, "value": 5}, or {"enabled": false}.')
    copy: dict[str, Any] = check_json(document)
    if unknown := sorted(copy.keys() - _DOCUMENT_KEYS):
        raise _bad("$", f"unknown keys: {', '.join(unknown)}")
    if not isinstance(copy.get("enabled"), bool):
        raise _bad("$.enabled", "it is required, and true or false")
    _check_unlimited(copy, feature_type)
    if "value" in copy and feature_type is not None:
        _check_typed(copy["value"], feature_type)
    if complete and not copy.keys() & {"value", "unlimited"}:
        raise _bad("$.value", "the registry's default needs a value")
    return copy


def _check_unlimited(document: dict[str, Any], feature_type: FeatureType | None) -> None:
    if "unlimited" not in document:
        return
    if document["unlimited"] is not True:
        raise _bad("$.unlimited", "it is true or absent")
    if "value" in document:
        raise _bad("$.unlimited", "it stands in place of a value, not beside one")
    if feature_type is not None and feature_type not in _COUNTABLE:
        raise _bad("$.unlimited", f"a feature of type {feature_type} has no limit to lift")


def _check_typed(value: Any, feature_type: FeatureType) -> None:
    expected = _PYTHON_TYPES.get(feature_type)
    if expected is None:  # json: anything goes
        return
    # bool is an int to Python, and not to anybody else.
    if not isinstance(value, expected) or (isinstance(value, bool) and feature_type is not FeatureType.BOOLEAN):
        raise _bad("$.value", f"a feature of type {feature_type} cannot have a {type(value).__name__}")


class _Copying:
    """Copies one document, and stops where it cannot fit any more.

    A container that is shared counts wherever it stands: thirty lists of two make a document of 2**30 parts.
    """

    def __init__(self) -> None:
        self._left = MAX_BYTES  # every part takes a byte, and every character

    def copy(self, value: Any, path: str, depth: int) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value, path)
        if isinstance(value, int | float):
            return _number(value, path)
        if not isinstance(value, dict | list):
            raise _bad(path, f"a {type(value).__name__} is not JSON")
        if depth == MAX_DEPTH:
            raise _bad(path, f"the document is deeper than {MAX_DEPTH}")
        self._take(len(value))
        if isinstance(value, list):
            return [self.copy(item, f"{path}[{index}]", depth + 1) for index, item in enumerate(value)]
        return {self._key(key, path): self.copy(item, f"{path}.{key}", depth + 1) for key, item in value.items()}

    def _key(self, key: Any, path: str) -> str:
        if not isinstance(key, str):
            raise _bad(path, f"a key is a {type(key).__name__}, not text")
        return self._text(key, path)

    def _text(self, text: str, path: str) -> str:
        self._take(len(text))
        if problem := text_problem(text):
            raise _bad(path, problem)
        return str.__str__(text)  # an enumeration's member becomes its text

    def _take(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise _bad("$", f"the document has more than {MAX_BYTES} bytes")


def _number(number: int | float, path: str) -> int | float:
    if isinstance(number, float) and not math.isfinite(number):
        raise _bad(path, "the number is not finite")
    # JSONB writes 1e300 out, so a whole float comes back as an integer: the same limit holds for it.
    if abs(number) > MAX_INTEGER:
        raise _bad(path, "the number is beyond ±(2**53 - 1)")
    return float(number) if isinstance(number, float) else int(number)


def _bad(path: str, problem: str, remedy: str = "Correct the document.") -> InvalidInput:
    # Paths may hold what text_problem() refused; an error must be printable everywhere.
    printable = path.encode("ascii", "backslashreplace").decode()[:200]
    return InvalidInput(f"Not a valid document at {printable}: {problem}.", remedy=remedy)
