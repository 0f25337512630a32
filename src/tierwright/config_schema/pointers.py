"""Places in a document, as tuples of keys and as JSON Pointers (RFC 6901), and how they are shown."""

from __future__ import annotations

import re
from collections.abc import Collection

#: The keys on the way to a value; list positions are ints.
Path = tuple[str | int, ...]
#: The way to a secret, which leads through objects only.
SecretPath = tuple[str, ...]

#: What a key looks like that somebody chose as a name. Another one could be anything, even a secret in a wrong place.
_NAME = re.compile(r"[A-Za-z_$][A-Za-z0-9_.$-]{0,63}")


def pointer_of(path: Path) -> str:
    """Return the JSON Pointer of a path; of the whole document it is empty."""
    return "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in path)


def path_of(pointer: str) -> SecretPath:
    """Return the path of a JSON Pointer; the first slash may be left out."""
    return tuple(
        key.replace("~1", "/").replace("~0", "~")
        for key in (pointer if pointer[:1] == "/" else "/" + pointer).split("/")[1:]
    )


def canonical(pointer: str) -> str:
    """Return a pointer as it is stored: ``bot_token`` is ``/bot_token``."""
    return pointer_of(path_of(pointer))


def shown(path: Path, secrets: Collection[SecretPath] = ()) -> str:
    """Return a place for people: never beyond a secret, and with ``*`` for keys that do not look like names."""
    for end in range(1, len(path)):
        if path[:end] in secrets:
            path = path[:end]
            break
    names = (key if isinstance(key, int) or _NAME.fullmatch(key) else "*" for key in path)
    return pointer_of(tuple(names))
