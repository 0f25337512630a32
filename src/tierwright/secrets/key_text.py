"""Key rings as text: ``id=key``, separated by white space or commas; ``#`` begins a comment.

What reads the text does not raise while it holds a key: a traceback with local variables would show it.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import lru_cache
from typing import Any

from tierwright.errors import InvalidInput
from tierwright.secrets import aead
from tierwright.secrets.hidden import Hidden

Ring = dict[str, Hidden[bytes]]

_KEY_ID = re.compile(r"[A-Za-z0-9._:/@+-]{1,255}")
_COMMENT = re.compile(r"#.*")
_BETWEEN = re.compile(r"[\s,]+")


def is_key_id(value: object) -> bool:
    """Tell whether a value has the form of a key id: 1 to 255 ASCII letters, digits, or any of ``._:/@+-``."""
    return isinstance(value, str) and _fits(value)


@lru_cache(maxsize=64)
def _fits(key_id: str) -> bool:
    return _KEY_ID.fullmatch(key_id) is not None


def key_line(key_id: str, key: bytes) -> str:
    """Return the entry of a key in a ring's text."""
    return f"{key_id}={base64.b64encode(key).decode()}"


def read_ring(text: Hidden[str]) -> Ring:
    """Return the keys that a text lists, in its order.

    Raises:
        InvalidInput: an entry is malformed, or its id was used before; the message does not repeat it.
    """
    ring: Ring = {}
    for number, entry in enumerate(_entries(text), 1):
        found = _entry(entry)
        if found is None:
            raise _malformed(f"entry {number} is not an id, =, and a key of 32 bytes in Base64")
        key_id, key = found
        if key_id in ring:
            raise _malformed(f"entry {number} has the id of an earlier one")
        ring[key_id] = key
    return ring


def check_ring(ring: Ring, active: str) -> None:
    """Refuse a ring that cannot be right.

    Raises:
        InvalidInput: a key or its id is malformed, two ids have one key, or the active key is not there.
    """
    if not all(map(is_key_id, ring)):
        raise _malformed("a key's id is not 1 to 255 ASCII letters, digits, or any of ._:/@+-")
    if not all(map(_is_key, ring.values())):
        raise _malformed("a key is not 32 bytes")
    if len({key.reveal() for key in ring.values()}) < len(ring):
        raise _malformed("two ids have the same key")
    if active not in ring:
        raise _malformed("the active key is not in it")


def _entries(text: Hidden[str]) -> list[Hidden[str]]:
    return [Hidden(entry) for entry in _BETWEEN.split(_COMMENT.sub("", text.reveal())) if entry]


def _entry(entry: Hidden[str]) -> tuple[str, Hidden[bytes]] | None:
    """Return id and key; None if it is not both: what stands in the place of the id may be a key that lost its id."""
    key_id, _, encoded = entry.reveal().partition("=")
    try:
        key = Hidden(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        return None
    return (key_id, key) if _is_key(key) and is_key_id(key_id) else None


def _is_key(key: Hidden[Any]) -> bool:
    return isinstance(key.reveal(), bytes) and len(key.reveal()) == aead.KEY


def _malformed(problem: str) -> InvalidInput:
    return InvalidInput(
        f"The key ring is malformed: {problem}.",
        remedy="Make keys with `tierwright secrets generate-key`, and list them as id=key, the active one first.",
    )
