"""Secrets in one row, sealed: a data key encrypts them, and a key that the database does not know wraps the data key.

    "TWS" 0x01   magic
    0x01         version of this format
    0x01         algorithm: AES-256-GCM
    key id       which key has wrapped the data key
    data key     wrapped, as the key provider likes
    names        of the secrets, as JSON pointers; readable without a key
    nonce        12 bytes
    ciphertext   with its tag of 16 bytes

Key id, data key, the number of names, each name and the ciphertext come with their length before them (4 bytes, big
endian). All that must not change is associated data of the encryption: magic, version, algorithm, names, and the place
to which the secrets belong. The key id is bound by the wrapping, so that another key can wrap the same data key.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from tierwright.errors import DecryptionFailed
from tierwright.secrets import aead, providing
from tierwright.secrets.framing import Reader, field, fields, invalid, number
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
    #: As they are encoded: they are authenticated so.
    names: bytes
    nonce: bytes
    ciphertext: bytes


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
    return _sealed(plaintext, number(len(names)) + fields(names), providing.required(keys), _place(binding))


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
    plaintext = _opened(parts, provider, place)
    made = _sealed(plaintext, parts.names, provider, place)
    again = _opened(_parse(made), provider, place)
    if again.reveal() != plaintext.reveal():  # nobody is there to measure how long it takes
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
    reader = Reader(parts.names)
    names = tuple(reader.text() for _ in range(reader.number()))
    return Header(_VERSION, _ALGORITHM, parts.key_id, names)


def key_id_of(prefix: bytes) -> str:
    """Return the key id of an envelope, of which the first ``PREFIX`` bytes are enough.

    Raises:
        EnvelopeInvalid: this is no beginning of an envelope.
    """
    return _beginning(Reader(prefix))


def beginning_with(key_id: str) -> bytes:
    """Return the first bytes of every envelope whose data key was wrapped by a key."""
    return _START + field(key_id.encode())


def _place(binding: Binding) -> _Place:
    context = binding.context()
    return _Place(context, fields(context.values()))


def _sealed(plaintext: Hidden[bytes], names: bytes, provider: KeyProvider, place: _Place) -> bytes:
    key_id, data_key, nonce = providing.active_key_id(provider), aead.new_key(), os.urandom(aead.NONCE)
    wrapped = providing.wrapped(provider, key_id, data_key, place.context)
    ciphertext = aead.encrypt(aead.cipher(data_key), nonce, plaintext, _START + names + place.encoded)
    return _assemble(_Parts(key_id, wrapped, names, nonce, ciphertext))


def _opened(parts: _Parts, provider: KeyProvider, place: _Place) -> Hidden[bytes]:
    data_key = providing.unwrapped(provider, parts.key_id, parts.wrapped, place.context)
    # The number of names goes before them, so that no name can pass for a part of the place.
    associated = _START + parts.names + place.encoded
    plaintext = aead.decrypt(aead.cipher(data_key), parts.nonce, parts.ciphertext, associated)
    if plaintext is None:
        raise DecryptionFailed(
            "The secrets do not decrypt: the envelope was changed, or belongs to another row or version.",
            remedy="Restore the row from a backup, or set its secrets anew (replace).",
            details={"key_id": parts.key_id},
        )
    return plaintext


def _assemble(parts: _Parts) -> bytes:
    return beginning_with(parts.key_id) + field(parts.wrapped) + parts.names + parts.nonce + field(parts.ciphertext)


def _parse(blob: bytes) -> _Parts:
    reader = Reader(blob)
    key_id, wrapped = _beginning(reader), reader.field()
    parts = _Parts(key_id, wrapped, reader.counted(), reader.take(aead.NONCE), reader.field())
    reader.end()
    return parts


def _beginning(reader: Reader) -> str:
    begins = reader.take(len(_START))
    if begins != _START:
        raise invalid(
            "its version or algorithm is unknown" if begins.startswith(_MAGIC) else "it does not begin as one"
        )
    return _key_id(reader.field())


@lru_cache(maxsize=64)
def _key_id(data: bytes) -> str:
    try:
        key_id = data.decode()
    except UnicodeDecodeError:
        key_id = ""
    if not is_key_id(key_id):
        raise invalid("its key id is none")
    return key_id
