"""TOML files. The standard library's reader tells places of what is not TOML, and of nothing else."""

from __future__ import annotations

import re
import tomllib

from tierwright.catalog.positions import (
    EMPTY,
    MAX_DEPTH,
    MAX_DIGITS,
    NOT_FINITE,
    TOO_DEEP,
    TOO_LONG_A_NUMBER,
    Flaw,
    Parsed,
    Place,
)
from tierwright.catalog.written import WrittenFloat

_PLACE = re.compile(r" \(at (?:line (?P<line>[0-9]+), column (?P<column>[0-9]+)|end of document)\)$")
_PART = r"""(?:[A-Za-z0-9_-]++|"[^"\n]*+"|'[^'\n]*+')"""
_LONG_KEY = re.compile(rf"(?<![A-Za-z0-9_.-]){_PART}(?:[ \t]*+\.[ \t]*+{_PART}){{{MAX_DEPTH},}}")
_TWICE = ("overwrite", "twice", "more than once", "already", "Duplicate")


class _Refused(Exception):
    """A number that is none."""


def read_toml(text: str, *, places: bool = False) -> Parsed:
    """Return what a TOML text says.

    Args:
        text: the text.
        places: ignored; there are none.
    """
    if (deep := _too_deep(text)) is not None:
        return _flawed(TOO_DEEP, deep)
    try:
        value = tomllib.loads(text, parse_float=_float)
    except _Refused as refused:
        return _flawed(str(refused), None)
    except tomllib.TOMLDecodeError as error:
        return _not_toml(str(error), text)
    except RecursionError:
        return _flawed(TOO_DEEP, None)
    except ValueError as error:
        # int() refuses more than 4,300 digits, and a date may be none.
        return _flawed(TOO_LONG_A_NUMBER if "digits" in str(error) else f"not TOML: {error}", None)
    return Parsed(value) if value else _flawed(EMPTY, Place(1, 1))


def _too_deep(text: str) -> Place | None:
    """Return where a dotted key has too many parts: the reader's memory grows with the square of their number."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") >= MAX_DEPTH and (found := _LONG_KEY.search(line)):
            return Place(number, found.start() + 1)
    return None


def _float(text: str) -> WrittenFloat:
    if "n" in text:  # inf, nan
        raise _Refused(NOT_FINITE)
    if len(text) > MAX_DIGITS:
        raise _Refused(TOO_LONG_A_NUMBER)
    return WrittenFloat(text.replace("_", ""))


def _not_toml(message: str, text: str) -> Parsed:
    found = _PLACE.search(message)
    if found is None:
        return _flawed(f"not TOML: {message}", None)
    problem = message[: found.start()]
    if any(word in problem for word in _TWICE):
        problem = f"the key is there twice, or is no table: {problem}"
    end = Place(text.count("\n") + 1, len(text) - text.rfind("\n"))
    place = Place(int(found["line"]), int(found["column"])) if found["line"] else end
    return _flawed(f"not TOML: {problem}", place)


def _flawed(problem: str, place: Place | None) -> Parsed:
    return Parsed(flaws=[Flaw((), problem, place, final=True)])
