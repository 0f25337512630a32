"""What a plain scalar of YAML means.

YAML 1.1, which PyYAML reads, and YAML 1.2, which editors check, do not agree: ``no`` is false in one and text in the
other, ``012`` is ten or twelve, ``12:30`` is 750 or text. What they read differently is refused, so that nothing
changes its meaning silently. One exception is made: ``1e-06`` is a number, as in JSON; YAML 1.1 takes it for text.
"""

from __future__ import annotations

import re
from datetime import date
from typing import Any, NamedTuple

from tierwright.catalog.positions import MAX_DIGITS, NOT_FINITE, TOO_LONG_A_NUMBER
from tierwright.catalog.written import WrittenFloat

_WORDS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_SWITCHES = {
    word: meaning
    for meaning, words in (("true", ("yes", "on")), ("false", ("no", "off")))
    for word in (each for lower in words for each in (lower, lower.title(), lower.upper()))
}
_INTEGER = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+\.[0-9]*|[0-9]+(?=[eE]))([eE][-+]?[0-9]+)?")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
#: Octal, binary, with underscores, to the base of sixty, or a moment: a number or a time to some readers.
_AMBIGUOUS = re.compile(
    r"[-+]?0[0-9_]+|[-+]?0[box][0-9a-fA-F_]+|[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?"
    r"|[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?|[-+]?\.[0-9][0-9_]*"
    r"|[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}([Tt]|[ \t]+)[0-9]{1,2}:[0-9]{2}:[0-9]{2}.*",
)


class Unclear(NamedTuple):
    """A scalar that nobody should have to read.

    Attributes:
        problem: why.
    """

    problem: str


def meaning_of(text: str) -> Any:
    """Return what a plain scalar means: None, a boolean, a number, a date or text; or :class:`Unclear`."""
    if text in _WORDS:
        return _WORDS[text]
    if text in _SWITCHES:
        return Unclear(f"some readers take {text} for {_SWITCHES[text]}: write {_SWITCHES[text]}, or quote it")
    if text[0] in "-+.0123456789":
        return _number(text)
    return text


def _number(text: str) -> Any:
    if _INTEGER.fullmatch(text):
        return Unclear(TOO_LONG_A_NUMBER) if len(text) > MAX_DIGITS else int(text)
    if _FLOAT.fullmatch(text):
        return Unclear(TOO_LONG_A_NUMBER) if len(text) > MAX_DIGITS else WrittenFloat(text)
    if _HEXADECIMAL.fullmatch(text):
        return Unclear(TOO_LONG_A_NUMBER) if len(text) > MAX_DIGITS else int(text, 16)
    if _NOT_FINITE.fullmatch(text):
        return Unclear(NOT_FINITE)
    if _DAY.fullmatch(text):
        try:
            return date.fromisoformat(text)
        except ValueError:
            return Unclear("there is no such day: correct it, or quote it if it is text")
    if _AMBIGUOUS.fullmatch(text):
        return Unclear("readers of YAML do not agree what this number is: write it plainly, or quote it if it is text")
    return text
