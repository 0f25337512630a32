"""What pydantic says of a document, as flaws with paths: what is wrong, what was expected, what may have been meant."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from pydantic import ValidationError

from tierwright.catalog.document import (
    SECTIONS,
    ComponentEntry,
    FeatureEntry,
    IntegrationEntry,
    ModelEntry,
    TierEntry,
)
from tierwright.catalog.positions import Flaw, Path
from tierwright.errors import InvalidInput
from tierwright.tables.inputs import InputSchema

_ENTRIES: Mapping[str, type[InputSchema]] = {
    "features": FeatureEntry,
    "tiers": TierEntry,
    "models": ModelEntry,
    "components": ComponentEntry,
    "integrations": IntegrationEntry,
}
_EXPECTED = {
    "string_type": "text is expected",
    "bool_type": "true or false is expected",
    "int_type": "a whole number is expected",
    "int_from_float": "a whole number is expected",
    "dict_type": "a mapping is expected",
    "model_type": "a mapping is expected",
    "list_type": "a list is expected",
    "string_unicode": "it contains a lone surrogate",
    "missing": "this field is required",
}
_FEATURE_KEY = "a feature key has two or more parts of a-z, 0-9, _ and -, joined by dots"
_PATTERNS = {
    r"^[a-z0-9_-]+(\.[a-z0-9_-]+)+$": _FEATURE_KEY,
    r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$": "a key has parts of a-z, 0-9, _ and -, joined by dots",
    r"^[a-z0-9_-]+$": "a model type is made of a-z, 0-9, _ and -",
    r"^https?://[^\s]+$": "an address begins with http:// or https:// and has no spaces",
}
_LONGEST = 300


def flaws_of(error: ValidationError) -> list[Flaw]:
    """Return what is wrong with a document that could not be validated."""
    return [_flaw(found) for found in error.errors(include_url=False)]


def suggestion(name: object, known: Iterable[str]) -> str:
    """Return what may have been meant, as the end of a sentence; "" if nothing is similar."""
    near = difflib.get_close_matches(str(name)[:255], list(known), n=1, cutoff=0.7)
    return f"; did you mean {near[0]!r}?" if near else ""


def printable(text: object, longest: int = _LONGEST) -> str:
    """Return text that any terminal can show."""
    shown = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(text)[: longest + 1]
    )
    return shown if len(shown) <= longest else f"{shown[: longest - 1]}…"


def kind_of(value: Any) -> str:
    """Return what a value was read as, for people."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    names: dict[type, str] = {str: "text", dict: "a mapping", list: "a list"}
    if isinstance(value, int | float):
        return "a number"
    return "a date or time" if isinstance(value, date) else names.get(type(value), f"a {type(value).__name__}")


def said(error: InvalidInput) -> str:
    """Return what an error of ours says, as part of a sentence; with its remedy, if that says more than to mend it."""
    problem = error.message.removeprefix("Not a valid document at ").removeprefix("$: ").rstrip(".")
    remedy = error.remedy.rstrip(".")
    return problem if remedy.startswith("Correct the ") else f"{problem}: {remedy[:1].lower()}{remedy[1:]}"


def _flaw(found: Any) -> Flaw:
    path: Path = tuple(found["loc"])
    at_key = path[-1:] == ("[key]",)
    if at_key:
        path = path[:-1]
    kind = found["type"]
    if kind == "extra_forbidden":
        return Flaw(path, _unknown(path), at_key=True)
    return Flaw(path, printable(_problem(kind, found)), at_key=at_key)


def _unknown(path: Path) -> str:
    if len(path) == 1:
        known: Iterable[str] = SECTIONS
        return f"there is no such section{suggestion(path[0], known) or '; there are ' + ', '.join(SECTIONS)}"
    known = _ENTRIES[path[0]].model_fields if path[0] in _ENTRIES else ()
    return f"there is no such field{suggestion(path[-1], known) or '; there are ' + ', '.join(known)}"


def _problem(kind: str, found: Any) -> str:
    context = found.get("ctx", {})
    ours = context.get("error")
    if isinstance(ours, InvalidInput):
        return said(ours)
    if kind == "string_pattern_mismatch":
        return _PATTERNS.get(context.get("pattern", ""), str(found["msg"]))
    if kind not in _EXPECTED:
        return (
            str(found["msg"])
            .removeprefix("Value error, ")
            .replace("Input should", "it should")
            .replace("String should", "it should")
        )
    if kind in ("missing", "string_unicode"):
        return _EXPECTED[kind]
    given = found.get("input")
    hint = ": quote it if it is text" if kind == "string_type" and not isinstance(given, dict | list | None) else ""
    return f"{_EXPECTED[kind]}, and this is {kind_of(given)}{hint}"
