"""The secrets of one row: sealed for it, and opened again."""

from __future__ import annotations

import json
from typing import Any

from tierwright.config_schema.shield import shielded
from tierwright.errors import EnvelopeInvalid
from tierwright.integrations.records import Secrets
from tierwright.secrets.envelope import Binding, header_of, open_sealed, seal
from tierwright.secrets.hidden import Hidden
from tierwright.secrets.keys import KeyProvider

#: Secrets by JSON Pointer.
HiddenSecrets = Hidden[dict[str, Any]]


def seal_secrets(secrets: HiddenSecrets, keys: KeyProvider | None, binding: Binding) -> bytes:
    """Return what the column holds for some secrets.

    Args:
        secrets: by JSON Pointer.
        keys: what wraps the data key.
        binding: the row, and the version that the secrets will have there.

    Raises:
        SecretsNotConfigured: there are no keys, or they wrap nothing.
        DependencyMissing: the package cryptography is not installed.
    """
    text = shielded(lambda: Hidden(json.dumps(secrets.reveal(), ensure_ascii=False, separators=(",", ":")).encode()))
    return seal(text, tuple(sorted(secrets.reveal())), keys, binding)


def open_secrets(sealed: bytes | None, keys: KeyProvider | None, binding: Binding) -> Secrets:
    """Return the secrets of a row; where it has none, no key is needed.

    Raises:
        SecretsNotConfigured: there are no keys.
        UnknownKeyId, DecryptionFailed, EnvelopeInvalid: it cannot be opened.
        DependencyMissing: the package cryptography is not installed.
    """
    if sealed is None:
        return Secrets(Hidden({}))
    text = open_sealed(sealed, keys, binding)
    return shielded(lambda: _parsed(text))


def names_in(sealed: bytes | None) -> tuple[str, ...]:
    """Return the names of the secrets that a row has; nothing is decrypted.

    Raises:
        EnvelopeInvalid: what the column holds is no envelope.
    """
    return () if sealed is None else header_of(sealed).names


def _parsed(text: Hidden[bytes]) -> Secrets:
    found = json.loads(text.reveal())
    if not isinstance(found, dict):
        raise EnvelopeInvalid("The envelope does not hold secrets by name.", remedy="Configure it with replace=True.")
    return Secrets(Hidden(found))
