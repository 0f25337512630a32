"""JSON files: read fast by the standard library, and a second time, slowly, where something is wrong."""

from __future__ import annotations

import json
import re
from bisect import bisect_right
from json.decoder import scanstring  # type: ignore[attr-defined]  # not in the stubs
from typing import Any

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
    Spot,
)
from tierwright.catalog.written import WrittenFloat

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS = {"true": True, "false": False, "null": None}
_CONSTANTS = ("NaN", "Infinity", "-Infinity")


def read_json(text: str, *, places: bool = False) -> Parsed:
    """Return what a JSON text says.

    Args:
        text: the text.
        places: whether to remember where everything is, which takes longer.
    """
    if not places:
        try:
            return Parsed(json.loads(text, object_pairs_hook=_unique, **_HOOKS))
        except (ValueError, RecursionError):
            pass  # the slow reader tells what and where
    return _Reader(text).read()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError
    return made


def _refuse(_: str) -> Any:
    raise ValueError


def _integer(text: str) -> int:
    if len(text) > MAX_DIGITS:
        raise ValueError
    return int(text)


def _float(text: str) -> WrittenFloat:
    if len(text) > MAX_DIGITS:
        raise ValueError
    return WrittenFloat(text)


_HOOKS: dict[str, Any] = {"parse_float": _float, "parse_int": _integer, "parse_constant": _refuse}


class _Stop(Exception):
    """The text cannot be read on."""


class _Reader:
    """Reads without recursion, and remembers places."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]
        self._parsed = Parsed()
        #: open containers, each with the key and its place under which the next value goes
        self._open: list[tuple[Any, list[Any]]] = []

    def read(self) -> Parsed:
        try:
            self._skip()
            if self._at == len(self._text):
                raise _Stop(EMPTY)
            self._parsed.root = self._place()
            self._value()
            while self._open:
                self._next()
            self._skip()
            if self._at < len(self._text):
                raise _Stop("not JSON: something follows the end of the document")
        except _Stop as stop:
            self._flaw(str(stop), final=True)
        return self._parsed

    def _next(self) -> None:
        """Read what comes next in the innermost container: its end, or another value."""
        container, under = self._open[-1]
        end = "}" if isinstance(container, dict) else "]"
        self._skip()
        if self._text.startswith(end, self._at):
            self._at += 1
            self._open.pop()
            return
        if container:
            self._expect(",", f"a comma or {end} is expected")
        if isinstance(container, dict):
            self._key(container, under)
        else:
            under[:] = [len(container), None]
        self._value()

    def _key(self, container: dict[str, Any], under: list[Any]) -> None:
        self._skip()
        place = self._place()
        if not self._text.startswith('"', self._at):
            raise _Stop('not JSON: a key in "double quotes" is expected')
        key = self._string()
        under[:] = [key, place]
        if key in container:
            first = self._parsed.spots[id(container), key].key.line
            self._flaw(f"the key is there twice (first in line {first})", place)
        self._skip()
        self._expect(":", "a colon is expected")

    def _value(self) -> None:
        self._skip()
        place, start = self._place(), self._text[self._at : self._at + 1]
        if start in ("{", "["):
            if len(self._open) >= MAX_DEPTH:
                raise _Stop(TOO_DEEP)
            self._at += 1
            made: Any = {} if start == "{" else []
            self._put(made, place)
            self._open.append((made, [None, None]))
        elif start == '"':
            self._put(self._string(), place)
        else:
            self._put(self._word(place), place)

    def _word(self, place: Place) -> Any:
        for word in _CONSTANTS:
            if self._text.startswith(word, self._at):
                self._at += len(word)
                self._flaw(NOT_FINITE, place)
                return None
        for word, meaning in _WORDS.items():
            if self._text.startswith(word, self._at):
                self._at += len(word)
                return meaning
        found = _NUMBER.match(self._text, self._at)
        if found is None:
            raise _Stop("not JSON: a value is expected")
        self._at = found.end()
        if len(found[0]) > MAX_DIGITS:
            self._flaw(TOO_LONG_A_NUMBER, place)
            return 0
        return int(found[0]) if found[2] is found[3] is None else WrittenFloat(found[0])

    def _string(self) -> str:
        try:
            text, self._at = scanstring(self._text, self._at + 1, True)
        except ValueError as error:
            self._at = getattr(error, "pos", self._at)
            raise _Stop(f"not JSON: {getattr(error, 'msg', 'the text does not end')}") from None
        return str(text)

    def _put(self, value: Any, place: Place) -> None:
        if not self._open:
            self._parsed.value = value
            return
        container, (key, key_place) = self._open[-1]
        self._parsed.spots[id(container), key] = Spot(key_place or place, place)
        if isinstance(container, list):
            container.append(value)
            return
        if key in container:
            self._parsed.kept.append(container[key])
        container[key] = value

    def _skip(self) -> None:
        found = _SPACE.match(self._text, self._at)
        self._at = found.end() if found else self._at

    def _expect(self, character: str, problem: str) -> None:
        if not self._text.startswith(character, self._at):
            raise _Stop(f"not JSON: {problem}")
        self._at += 1

    def _flaw(self, problem: str, place: Place | None = None, *, final: bool = False) -> None:
        path = tuple(under[0] for _, under in self._open if under[0] is not None)
        self._parsed.flaws.append(Flaw(path, problem, place or self._place(), final=final))

    def _place(self) -> Place:
        line = bisect_right(self._lines, self._at)
        return Place(line, self._at - self._lines[line - 1] + 1)
