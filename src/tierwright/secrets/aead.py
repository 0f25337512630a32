"""AES-256-GCM (NIST SP 800-38D), from the package cryptography.

Nothing here raises while key material or plaintext is in a local variable: what does not decrypt is None.
"""

from __future__ import annotations

import os
from functools import cache
from types import ModuleType
from typing import Any

from tierwright.errors import DependencyMissing
from tierwright.secrets.hidden import Hidden

#: Bytes of a nonce, of a key and of a tag.
NONCE, KEY, TAG = 12, 32, 16


def new_key() -> Hidden[bytes]:
    """Return a fresh random key."""
    return Hidden(os.urandom(KEY))


def cipher(key: Hidden[bytes]) -> Any:
    """Return what encrypts and decrypts under a key; its ``repr`` does not show it.

    Raises:
        DependencyMissing: the package cryptography is not installed.
    """
    return _package().AESGCM(key.reveal())


def encrypt(cipher: Any, nonce: bytes, plaintext: Hidden[bytes], associated: bytes) -> bytes:
    """Return the ciphertext with its tag."""
    return bytes(cipher.encrypt(nonce, plaintext.reveal(), associated))


def decrypt(cipher: Any, nonce: bytes, ciphertext: bytes, associated: bytes) -> Hidden[bytes] | None:
    """Return the plaintext; None if anything is not as it was when it was encrypted."""
    if len(ciphertext) < TAG:
        return None
    try:
        return Hidden(cipher.decrypt(nonce, ciphertext, associated))
    except _invalid_tag():
        return None


@cache
def _package() -> ModuleType:
    # Imported when it is first needed: names of secrets are listed, and public settings written, without it.
    try:
        from cryptography.hazmat.primitives.ciphers import aead
    except ModuleNotFoundError:
        pass
    else:
        return aead
    raise DependencyMissing(
        "Secrets need the package cryptography, which is not installed.",
        remedy="Install it: pip install 'tierwright[secrets]'.",
    )


@cache
def _invalid_tag() -> type[Exception]:
    from cryptography.exceptions import InvalidTag

    return InvalidTag
