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
    header: Header
    wrapped: bytes
    nonce: bytes
    ciphertext: bytes


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
    provider = providing.required(keys)
    header = Header(_VERSION, _ALGORITHM, providing.active_key_id(provider), names)
    data_key, nonce = aead.new_key(), os.urandom(aead.NONCE)
    wrapped = providing.wrapped(provider, header.key_id, data_key, binding.context())
    return _assemble(
        _Parts(header, wrapped, nonce, aead.encrypt(data_key, nonce, plaintext, _associated(header, binding)))
    )


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
    parts = _parse(blob)
    data_key = providing.unwrapped(provider, parts.header.key_id, parts.wrapped, binding.context())
    plaintext = aead.decrypt(data_key, parts.nonce, parts.ciphertext, _associated(parts.header, binding))
    if plaintext is None:
        raise DecryptionFailed(
            "The secrets do not decrypt: the envelope was changed, or belongs to another row or version.",
            remedy="Restore the row from a backup, or set its secrets anew (replace).",
            details={"key_id": parts.header.key_id},
        )
    return plaintext


def rewrap(blob: bytes, keys: KeyProvider | None, binding: Binding) -> bytes:
    """Return the envelope with its data key wrapped by the active key; the ciphertext is the same.

    Args:
        blob: the envelope.
        keys: has the key that wrapped its data key, and the active one.
        binding: where the envelope was found.

    Raises:
        SecretsNotConfigured, EnvelopeInvalid, UnknownKeyId, DecryptionFailed, DependencyMissing: as
            :func:`open_sealed` and :func:`seal` say.
    """
    provider = providing.required(keys)
    parts = _parse(blob)
    data_key = providing.unwrapped(provider, parts.header.key_id, parts.wrapped, binding.context())
    header = parts.header._replace(key_id=providing.active_key_id(provider))
    wrapped = providing.wrapped(provider, header.key_id, data_key, binding.context())
    return _assemble(parts._replace(header=header, wrapped=wrapped))


def header_of(blob: bytes) -> Header:
    """Return what an envelope says without a key.

    Raises:
        EnvelopeInvalid: this is no envelope.
    """
    return _parse(blob).header


def key_id_of(prefix: bytes) -> str:
    """Return the key id of an envelope, of which the first ``PREFIX`` bytes are enough.

    Raises:
        EnvelopeInvalid: this is no beginning of an envelope.
    """
    return _beginning(Reader(prefix))[2]


def _associated(header: Header, binding: Binding) -> bytes:
    # The number of names goes before them, so that no name can pass for a part of the place.
    parts = (*header.names, *binding.context().values())
    return _start(header) + number(len(header.names)) + fields(parts)


def _assemble(parts: _Parts) -> bytes:
    names = number(len(parts.header.names)) + fields(parts.header.names)
    key_id = field(parts.header.key_id.encode())
    return _start(parts.header) + key_id + field(parts.wrapped) + names + parts.nonce + field(parts.ciphertext)


def _start(header: Header) -> bytes:
    return _MAGIC + bytes([header.format_version, header.algorithm])


def _parse(blob: bytes) -> _Parts:
    reader = Reader(blob)
    version, algorithm, key_id = _beginning(reader)
    wrapped = reader.field()
    names = tuple(reader.text() for _ in range(reader.number()))
    parts = _Parts(Header(version, algorithm, key_id, names), wrapped, reader.take(aead.NONCE), reader.field())
    reader.end()
    return parts


def _beginning(reader: Reader) -> tuple[int, int, str]:
    if reader.take(len(_MAGIC)) != _MAGIC:
        raise invalid("it does not begin as one")
    version, algorithm = reader.take(2)
    if (version, algorithm) != (_VERSION, _ALGORITHM):
        raise invalid("its version or algorithm is unknown")
    key_id = reader.text()
    if not is_key_id(key_id):
        raise invalid("its key id is none")
    return version, algorithm, key_id
