"""Secrets in one row, sealed: a data key encrypts them, and a key that the database does not know wraps the data key.

    "TWS" 0x01   magic
    0x01         version of this format
    0x01         algorithm: AES-256-GCM
    key id       which key has wrapped the data key, with its length before it
    lengths      of the three parts that follow
    data key     wrapped, as the key provider likes
    names        of the secrets, as JSON pointers: their number, their lengths, and all of them; readable without a key
    secrets      a nonce of 12 bytes, the ciphertext, and its tag of 16 bytes

All that must not change is associated data of the encryption: magic, version, algorithm, names, and the place to which
the secrets belong. The key id is bound by the wrapping, so that another key can wrap the same data key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from tierwright.errors import DecryptionFailed
from tierwright.secrets import aead, providing
from tierwright.secrets.framing import bound, field, first, invalid, joined, listed, split, text, unlisted
from tierwright.secrets.hidden import Hidden
from tierwright.secrets.key_text import is_key_id
from tierwright.secrets.keys import KeyProvider

TABLE, COLUMN = "tenant_integration_configs", "encrypted_config"
#: So many bytes at the beginning of an envelope hold its key id; see :func:`key_id_of`.
PREFIX = 4 + 2 + 4 + 255
_MAGIC, _VERSION, _ALGORITHM = b"TWS\x01", 1, 1
_START = _MAGIC + bytes([_VERSION, _ALGORITHM])


@dataclass(frozen=True, slots=True)
class Binding:
    """The one place to which sealed secrets belong; anywhere else they do not decrypt.

    Attributes:
        table: the table of the row.
        column: the column that holds the envelope.
        tenant_id: in its canonical form.
        integration_key: the integration that the secrets are of.
        secret_version: counts the changes of the secrets, so that an older envelope is refused as well.
    """

    table: str
    column: str
    tenant_id: str
    integration_key: str
    secret_version: int

    @classmethod
    def of_config(cls, tenant_id: str, integration_key: str, secret_version: int) -> Binding:
        """Return the place of one tenant's secrets of one integration."""
        return cls(TABLE, COLUMN, tenant_id, integration_key, secret_version)

    def context(self) -> dict[str, str]:
        """Return it as text by name, as key providers take it."""
        return {
            "table": self.table,
            "column": self.column,
            "tenant_id": self.tenant_id,
            "integration_key": self.integration_key,
            "secret_version": str(self.secret_version),
        }


class Header(NamedTuple):
    """What an envelope says without a key.

    Attributes:
        format_version: of the envelope.
        algorithm: 1 is AES-256-GCM.
        key_id: the key that has wrapped the data key.
        names: JSON pointers of the secrets.
    """

    format_version: int
    algorithm: int
    key_id: str
    names: tuple[str, ...]


class _Parts(NamedTuple):
    key_id: str
    wrapped: bytes
    #: As :func:`listed` has put them together: they are authenticated so.
    names: bytes
    #: Nonce, ciphertext and tag.
    secrets: bytes


class _DataKey(NamedTuple):
    """A key for one envelope, and what encrypts under it."""

    key: Hidden[bytes]
    cipher: Any

    @classmethod
    def new(cls) -> _DataKey:
        key = aead.new_key()
        return cls(key, aead.cipher(key))


class _Place(NamedTuple):
    """A binding, as key providers take it and as it is authenticated."""

    context: dict[str, str]
    encoded: bytes


def seal(plaintext: Hidden[bytes], names: tuple[str, ...], keys: KeyProvider | None, binding: Binding) -> bytes:
    """Encrypt secrets under a data key of their own, wrapped by the active key.

    Args:
        plaintext: the secrets.
        names: JSON pointers of them, not secret.
        keys: wraps the data key.
        binding: where the envelope will be kept.

    Returns:
        The envelope.

    Raises:
        SecretsNotConfigured: there are no keys, or they wrap nothing.
        DependencyMissing: the package cryptography is not installed.
    """
    return _sealed(plaintext, listed(names), _DataKey.new(), providing.required(keys), _place(binding))


def open_sealed(blob: bytes, keys: KeyProvider | None, binding: Binding) -> Hidden[bytes]:
    """Decrypt what :func:`seal` has made for the same place.

    Args:
        blob: the envelope.
        keys: has the key that wrapped its data key.
        binding: where the envelope was found.

    Returns:
        The secrets.

    Raises:
        SecretsNotConfigured: there are no keys.
        EnvelopeInvalid: this is no envelope.
        UnknownKeyId: the keys lack the one that is needed.
        DecryptionFailed: the key is another one of the same id, or the envelope was changed, or belongs elsewhere.
        DependencyMissing: the package cryptography is not installed.
    """
    provider = providing.required(keys)
    return _opened(_parse(blob), provider, _place(binding))


def reseal(blob: bytes, keys: KeyProvider | None, binding: Binding) -> bytes:
    """Return the same secrets under a new data key, wrapped by the active key; it was read back.

    Args:
        blob: the envelope.
        keys: has the key that wrapped its data key, and the active one.
        binding: where the envelope was found.

    Raises:
        SecretsNotConfigured, EnvelopeInvalid, UnknownKeyId, DecryptionFailed, DependencyMissing: as
            :func:`open_sealed` and :func:`seal` say.
    """
    provider, place, parts = providing.required(keys), _place(binding), _parse(blob)
    plaintext, data_key = _opened(parts, provider, place), _DataKey.new()
    made = _sealed(plaintext, parts.names, data_key, provider, place)
    again = _parse(made)
    unwrapped = providing.unwrapped(provider, again.key_id, again.wrapped, place.context)
    # Plain comparisons: nobody is there to measure how long they take. The same key needs no cipher of its own.
    is_same = unwrapped.reveal() == data_key.key.reveal()
    if not is_same or _decrypted(again, data_key.cipher, place).reveal() != plaintext.reveal():
        raise DecryptionFailed("The new envelope holds something else.", remedy="Look at the key provider.")
    return made


def rewrap(blob: bytes, keys: KeyProvider | None, binding: Binding) -> bytes:
    """Return the envelope with its data key wrapped by the active key, and the same ciphertext; it was read back.

    Args:
        blob: the envelope.
        keys: has the key that wrapped its data key, and the active one.
        binding: where the envelope was found.

    Raises:
        SecretsNotConfigured, EnvelopeInvalid, UnknownKeyId, DecryptionFailed, DependencyMissing: as
            :func:`open_sealed` and :func:`seal` say.
    """
    provider, place, parts = providing.required(keys), _place(binding), _parse(blob)
    data_key = providing.unwrapped(provider, parts.key_id, parts.wrapped, place.context)
    key_id = providing.active_key_id(provider)
    wrapped = providing.wrapped(provider, key_id, data_key, place.context)
    made = _assemble(parts._replace(key_id=key_id, wrapped=wrapped))
    _opened(_parse(made), provider, place)  # the ciphertext is authenticated: if it opens, it holds the same
    return made


def header_of(blob: bytes) -> Header:
    """Return what an envelope says without a key.

    Raises:
        EnvelopeInvalid: this is no envelope.
    """
    parts = _parse(blob)
    return Header(_VERSION, _ALGORITHM, parts.key_id, unlisted(parts.names))


def key_id_of(prefix: bytes) -> str:
    """Return the key id of an envelope, of which the first ``PREFIX`` bytes are enough.

    Raises:
        EnvelopeInvalid: this is no beginning of an envelope.
    """
    _check_start(prefix)
    return _key_id(first(prefix, len(_START)))


def beginning_with(key_id: str) -> bytes:
    """Return the first bytes of every envelope whose data key was wrapped by a key."""
    return _START + field(key_id.encode())


def _place(binding: Binding) -> _Place:
    context = binding.context()
    return _Place(context, bound([*context.values()]))


def _sealed(plaintext: Hidden[bytes], names: bytes, data_key: _DataKey, provider: KeyProvider, place: _Place) -> bytes:
    key_id, nonce = providing.active_key_id(provider), os.urandom(aead.NONCE)
    wrapped = providing.wrapped(provider, key_id, data_key.key, place.context)
    ciphertext = aead.encrypt(data_key.cipher, nonce, plaintext, _associated(names, place))
    return _assemble(_Parts(key_id, wrapped, names, nonce + ciphertext))


def _opened(parts: _Parts, provider: KeyProvider, place: _Place) -> Hidden[bytes]:
    data_key = providing.unwrapped(provider, parts.key_id, parts.wrapped, place.context)
    return _decrypted(parts, aead.cipher(data_key), place)


def _decrypted(parts: _Parts, cipher: Any, place: _Place) -> Hidden[bytes]:
    nonce, ciphertext = parts.secrets[: aead.NONCE], parts.secrets[aead.NONCE :]
    plaintext = aead.decrypt(cipher, nonce, ciphertext, _associated(parts.names, place))
    if plaintext is None:
        raise DecryptionFailed(
            "The secrets do not decrypt: the envelope was changed, or belongs to another row or version.",
            remedy="Restore the row from a backup, or set its secrets anew (replace).",
            details={"key_id": parts.key_id},
        )
    return plaintext


def _associated(names: bytes, place: _Place) -> bytes:
    # The length of the names goes before them, so that no name can pass for a part of the place.
    return _START + field(names) + place.encoded


def _assemble(parts: _Parts) -> bytes:
    return beginning_with(parts.key_id) + joined(parts[1:])


def _parse(blob: bytes) -> _Parts:
    _check_start(blob)
    key_id = first(blob, len(_START))
    wrapped, names, secrets = split(blob, len(_START) + len(field(key_id)), 3)
    return _Parts(_key_id(key_id), wrapped, names, secrets)


def _check_start(blob: bytes) -> None:
    if not isinstance(blob, bytes):
        raise invalid("it is not bytes")
    if not blob.startswith(_START):
        raise invalid("its version or algorithm is unknown" if blob.startswith(_MAGIC) else "it does not begin as one")


@lru_cache(maxsize=64)
def _key_id(data: bytes) -> str:
    key_id = text(data, "its key id is none")
    if not is_key_id(key_id):
        raise invalid("its key id is none")
    return key_id
