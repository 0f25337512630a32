"""Files and standard input that may hold secrets: neither an error nor a traceback repeats what they say."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from tierwright.catalog.sources import Format, source_of
from tierwright.config_schema.shield import shielded
from tierwright.errors import InvalidInput
from tierwright.secrets.hidden import Hidden

STANDARD_INPUT = "-"
#: More than both columns of a row can hold.
_MOST_BYTES = 2**20


def document_in(path: str) -> Hidden[dict[str, Any]]:
    """Return the JSON or YAML object in a file, or on standard input for ``-``.

    Raises:
        InvalidInput: it cannot be read, or is no such object; the error says where, and not what stands there.
        DependencyMissing: YAML needs the package PyYAML.
    """
    data = _bytes_in(path)
    if data is None:
        raise _unreadable("The input of --from")
    found = shielded(lambda: _parsed(path, data))
    if isinstance(found, str):
        raise InvalidInput(f"The input of --from {found}.", remedy="Give one JSON or YAML object.")
    return found


def secret_in(path: str, name: str) -> Hidden[str]:
    """Return the text in a file, or on standard input for ``-``, without one line break at its end.

    Args:
        path: of the file; errors do not repeat it, because some give the secret itself in its place.
        name: of the secret.

    Raises:
        InvalidInput: it cannot be read, is no text, or is empty; or standard input is a terminal, which would show it.
    """
    if path == STANDARD_INPUT and sys.stdin.isatty():
        raise InvalidInput("The terminal would show the secret.", remedy=f"Use --secret {name}, or pipe it in.")
    data = _bytes_in(path)
    text = None if data is None else _text_in(data)
    if text is None:
        raise _unreadable(f"The file of the secret {name!a}")
    if not text.reveal():
        raise InvalidInput(f"The file of the secret {name!a} is empty.", remedy="Check it; --forget drops a secret.")
    return text


def _bytes_in(path: str) -> Hidden[bytes] | None:
    try:
        if path == STANDARD_INPUT:
            found = Hidden(sys.stdin.buffer.read(_MOST_BYTES + 1))
        else:
            with Path(path).open("rb") as file:
                found = Hidden(file.read(_MOST_BYTES + 1))
    except (OSError, ValueError):  # ValueError: a NUL in its name
        return None
    return found if len(found.reveal()) <= _MOST_BYTES else None


def _text_in(data: Hidden[bytes]) -> Hidden[str] | None:
    try:
        return Hidden(data.reveal().decode().removesuffix("\n").removesuffix("\r"))
    except UnicodeDecodeError:
        return None


def _parsed(path: str, data: Hidden[bytes]) -> Hidden[dict[str, Any]] | str:
    """Return the object, or what is wrong with the text."""
    kind = _format_of(path, data)
    source = source_of("<settings>", kind, data.reveal())
    if source.flaws:
        place = source.flaws[0].place
        return f"is not {kind.upper()}" + (f", see line {place.line}, column {place.column}" if place else "")
    return Hidden(source.parsed.value) if isinstance(source.parsed.value, dict) else "is no object"


def _format_of(path: str, data: Hidden[bytes]) -> Format:
    if Path(path).suffix.lower() in (".yaml", ".yml"):
        return "yaml"
    return "json" if data.reveal().lstrip()[:1] in (b"{", b"[", b"") else "yaml"


def _unreadable(what: str) -> InvalidInput:
    return InvalidInput(f"{what} cannot be read.", remedy="Check its name, that it is UTF-8, and no longer than 1 MiB.")
