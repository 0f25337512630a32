"""YAML as people write it, which every reader of YAML 1.1 and 1.2 takes for the same: what is doubtful is quoted.

PyYAML's own dumper writes dictionaries of any shape; this one writes a catalogue, with room between its entries.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from typing import Any

from tierwright.catalog.yaml_scalars import meaning_of

_INDENT = "  "
_WIDTH = 100
#: A reader looks for the colon behind a key in the next 1,024 characters only.
_LONGEST_KEY = 1000
_PLAIN = re.compile(r"[\w/](?:[\w./()+@%*'=;!?&-]|[ ](?=[\w./()+@%*'=;!?&-])|:(?=[\w./()+@%-]))*")
_FLOW_PLAIN = re.compile(r"[\w/][\w./+@%*=-]*")
#: Text that means nothing else to us, but does to other readers.
_DOUBTFUL = re.compile(r"[yYnN]|[-+.]?[0-9][0-9._,:+eExXa-fA-F-]*")
_ESCAPED = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
#: Lines that read back as they are: no other kind of line break, nothing unprintable.
_BLOCK = re.compile(
    "[^\\s\x00-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff][^\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]*"
)
_VALUE_DOCUMENT = {"enabled", "value", "unlimited"}


def write_yaml(sections: dict[str, dict[str, Any]]) -> str:
    """Return sections of entries as YAML, with a blank line between sections and between entries.

    Args:
        sections: by name; the entries of ``models`` lie one level deeper than the others.
    """
    if not sections:
        return "{}\n"
    lines: list[str] = []
    for section, entries in sections.items():
        if lines:
            lines.append("")
        lines.append(f"{section}:")
        lines.extend(_entries(entries, 2 if section == "models" else 1, 1))
    return "\n".join(lines) + "\n"


def _entries(entries: dict[str, Any], levels: int, depth: int) -> Iterator[str]:
    first = True
    for key, entry in entries.items():
        if not first:
            yield ""
        first = False
        if levels > 1:
            yield f"{_INDENT * depth}{_scalar(key)}:"
            yield from _entries(entry, levels - 1, depth + 1)
        else:
            yield from _pair(key, entry, depth)


def _pair(key: str, value: Any, depth: int) -> Iterator[str]:
    indent = _INDENT * depth
    written = _scalar(key)
    if len(written) > _LONGEST_KEY:
        yield f"{indent}? {written}"
        written = ""
    yield from _placed(f"{indent}{written}:", value, depth)


def _placed(head: str, value: Any, depth: int) -> Iterator[str]:
    """Yield a value behind ``key:`` or ``-``, or below it."""
    short = _one_line(value, len(head))
    if short is not None:
        yield f"{head} {short}"
    elif isinstance(value, dict):
        yield head
        for key, item in value.items():
            yield from _pair(key, item, depth + 1)
    elif isinstance(value, list):
        yield head
        for item in value:
            yield from _placed(f"{_INDENT * (depth + 1)}-", item, depth + 1)
    else:
        yield from _block(head, value, depth)


def _one_line(value: Any, column: int) -> str | None:
    """Return a value as it stands behind its key; None if it needs lines of its own."""
    if isinstance(value, dict):
        if not value:
            return "{}"
        if not (value.keys() <= _VALUE_DOCUMENT and "enabled" in value and all(map(_is_scalar, value.values()))):
            return None
        text = "{" + ", ".join(f"{key}: {_scalar(item, _FLOW_PLAIN)}" for key, item in value.items()) + "}"
    elif isinstance(value, list):
        if not all(map(_is_scalar, value)):
            return None
        text = "[" + ", ".join(_scalar(item, _FLOW_PLAIN) for item in value) + "]"
    else:
        is_block = isinstance(value, str) and "\n" in value and _BLOCK.fullmatch(value) and not value.endswith("\n\n")
        return None if is_block else _scalar(value)
    return text if column + len(text) < _WIDTH or not value else None


def _is_scalar(value: Any) -> bool:
    return not isinstance(value, dict | list) or not value


def _block(head: str, text: str, depth: int) -> Iterator[str]:
    yield f"{head} {'|' if text.endswith(chr(10)) else '|-'}"
    indent = _INDENT * (depth + 1)
    for line in text.removesuffix("\n").split("\n"):
        yield indent + line if line else ""


def _scalar(value: Any, plain: re.Pattern[str] = _PLAIN) -> str:
    if isinstance(value, str):
        is_plain = plain.fullmatch(value) and not _DOUBTFUL.fullmatch(value) and meaning_of(value) == value
        return value if is_plain else _quoted(value)
    if isinstance(value, Decimal):
        return format(value, "f")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, float):
        # YAML 1.1 takes 1e-07 for text.
        text = repr(value)
        return text.replace("e", ".0e") if "e" in text and "." not in text else text
    return json.dumps(value)


def _quoted(text: str) -> str:
    written = json.dumps(text, ensure_ascii=False)
    return _ESCAPED.sub(lambda found: f"\\u{ord(found[0]):04x}", written)
