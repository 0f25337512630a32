"""What looks like a secret: names that end as secrets' names do, and private keys in text.

The last word of a name says what the thing is: a ``token_url`` is an address, a ``max_tokens`` a number, a
``public_key`` nothing to hide. Words are found in snake_case, kebab-case, camelCase and dotted names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Any

from tierwright.config_schema.pointers import Path

_WORDS = {
    "apikey",
    "credential",
    "credentials",
    "pass",
    "passcode",
    "passphrase",
    "passwd",
    "password",
    "passwords",
    "pwd",
    "secret",
    "secrets",
    "token",
}
#: What makes a key a secret one.
_KEYS = {
    "access",
    "api",
    "auth",
    "encryption",
    "hmac",
    "master",
    "private",
    "secret",
    "shared",
    "signing",
    "ssh",
    "webhook",
}
_RUN_TOGETHER = re.compile(
    r"(password|passwd|passphrase|secret|(access|auth|bearer|bot|client|id|refresh|session)token"
    r"|(access|api|encryption|master|private|secret|signing)keys?)$"
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")
#: PEM and OpenPGP (RFC 7468, RFC 9580), and PuTTY's own format.
_PRIVATE_KEY = re.compile(r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY( BLOCK)?-----|PuTTY-User-Key-File-\d")


def names_a_secret(name: str) -> bool:
    """Tell whether a property's name is one that secrets have."""
    plain = unicodedata.normalize("NFKC", name)
    words = [word.lower() for word in _WORD.findall(plain)]
    if len(words) > 1 and words[-1] == "v":  # api_key_v2: digits are no words
        words.pop()
    if not words:
        return False
    if words[-1] in _WORDS or _RUN_TOGETHER.search(words[-1]):
        return True
    return len(words) > 1 and words[-1] in ("key", "keys") and words[-2] in _KEYS


def holds_private_key(text: str) -> bool:
    """Tell whether a text has a private key in it."""
    return _PRIVATE_KEY.search(text) is not None


def suspicious(value: Any, path: Path = ()) -> Iterator[Path]:
    """Yield the places in a document that look like secrets."""
    if isinstance(value, str):
        if holds_private_key(value):
            yield path
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from suspicious(item, (*path, index))
    elif isinstance(value, dict):
        for key, item in value.items():
            # Whether there is a password, is none.
            if (names_a_secret(key) and not isinstance(item, bool | None)) or holds_private_key(key):
                yield (*path, key)
            yield from suspicious(item, (*path, key))  # also where the name may be read: it says nothing of the inside
