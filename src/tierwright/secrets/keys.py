"""The keys that wrap data keys: what a key provider must do, and a ring of keys that the process is given."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn, Protocol, Self

from tierwright.errors import InvalidInput, SecretsNotConfigured
from tierwright.secrets import aead, providing
from tierwright.secrets.framing import bound
from tierwright.secrets.hidden import Hidden
from tierwright.secrets.key_text import check_ring, read_ring

ENVIRONMENT_KEYS = "TIERWRIGHT_SECRETS_KEYS"
ENVIRONMENT_FILE = "TIERWRIGHT_SECRETS_KEY_FILE"
_GIVE = f"Set {ENVIRONMENT_KEYS}, or {ENVIRONMENT_FILE} to a file; `tierwright secrets generate-key` makes a key."


class KeyProvider(Protocol):
    """Wraps and unwraps data keys; a key management service fits behind it.

    The context names what a data key is for: ``table``, ``column``, ``tenant_id``, ``integration_key`` and
    ``secret_version``, all text and none of it secret. What was wrapped in one context must not unwrap in another.

    Of what a provider raises, the errors of tierwright are passed on; of any other only the class is told, because
    its traceback may hold a key.
    """

    @property
    def active_key_id(self) -> str:
        """The key that wraps from now on: 1 to 255 ASCII letters, digits, or any of ``._:/@+-``."""
        ...

    def wrap(self, key_id: str, data_key: bytes, context: Mapping[str, str]) -> bytes:
        """Return the data key, encrypted under a key.

        Raises:
            UnknownKeyId: there is no such key.
        """
        ...

    def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the data key that :meth:`wrap` has encrypted.

        Raises:
            UnknownKeyId: there is no such key.
            DecryptionFailed: the key is another one, or the context.
        """
        ...


class KeyRing:
    """Keys in memory: one wraps, all unwrap. They do not show in ``repr``, pickles or errors.

    Args:
        keys: 32 random bytes by key id.
        active: the key that wraps.

    Raises:
        InvalidInput: a key or its id is malformed, two ids have the same key, or the active one is none of them.
    """

    def __init__(self, keys: Mapping[str, bytes], active: str) -> None:
        ring = {key_id: Hidden(key) for key_id, key in keys.items()}
        del keys
        check_ring(ring, active)
        self._ring, self._active = ring, active
        self._ciphers: dict[str, Any] = {}

    @classmethod
    def from_text(cls, text: str | Hidden[str]) -> Self:
        """Return the ring that a text lists, the active key first; see :meth:`from_environment`.

        Raises:
            SecretsNotConfigured: it lists no key.
            InvalidInput: an entry is malformed; the message says which, and not what it holds.
        """
        text = text if isinstance(text, Hidden) else Hidden(text)
        ring = read_ring(text)
        if not ring:
            raise SecretsNotConfigured("The key ring is empty.", remedy=_GIVE)
        return cls({key_id: key.reveal() for key_id, key in ring.items()}, next(iter(ring)))

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> Self:
        """Return the ring that a file lists; ``#`` begins a comment.

        Raises:
            SecretsNotConfigured: the file cannot be read, or lists no key.
            InvalidInput: an entry is malformed.
        """
        text = _contents(path)
        if text is None:
            raise SecretsNotConfigured(f"The key file {os.fspath(path)} cannot be read.", remedy=_GIVE)
        return cls.from_text(text)

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return the ring that the process was given.

        It is in ``TIERWRIGHT_SECRETS_KEYS``, or in the file that ``TIERWRIGHT_SECRETS_KEY_FILE`` names. The text lists
        ``id=key``, separated by white space or commas; a key is 32 random bytes in Base64. The first one is active, the
        others only unwrap.

        Args:
            environ: where to look; the environment of the process unless given.

        Raises:
            SecretsNotConfigured: neither variable is set, the file cannot be read, or no key is listed.
            InvalidInput: both are set, or an entry is malformed.
        """
        variables = Hidden(os.environ if environ is None else environ)
        del environ
        text = Hidden(variables.reveal().get(ENVIRONMENT_KEYS) or "")
        file = variables.reveal().get(ENVIRONMENT_FILE)
        if file and text.reveal():
            raise InvalidInput(f"{ENVIRONMENT_KEYS} and {ENVIRONMENT_FILE} are both set.", remedy="Unset one of them.")
        if not file and not text.reveal():
            raise SecretsNotConfigured("The process was given no keys for secrets.", remedy=_GIVE)
        return cls.from_file(file) if file else cls.from_text(text)

    @property
    def active_key_id(self) -> str:
        """The key that wraps."""
        return self._active

    @property
    def key_ids(self) -> tuple[str, ...]:
        """All keys, in the order in which they were given."""
        return tuple(self._ring)

    def wrap(self, key_id: str, data_key: bytes, context: Mapping[str, str]) -> bytes:
        """Return the data key, encrypted under a key of the ring, and bound to key and context.

        Raises:
            UnknownKeyId: the ring has no such key.
        """
        hidden = Hidden(data_key)
        del data_key
        nonce = os.urandom(aead.NONCE)
        return nonce + aead.encrypt(self._cipher(key_id), nonce, hidden, _associated(key_id, context))

    def unwrap(self, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> bytes:
        """Return the data key that was wrapped in the same context.

        Raises:
            UnknownKeyId: the ring has no such key.
            DecryptionFailed: it has another key of that id, or key or context are not those of the wrapping.
        """
        nonce, ciphertext = wrapped[: aead.NONCE], wrapped[aead.NONCE :]
        if len(ciphertext) < aead.TAG:
            raise providing.does_not_unwrap(key_id)
        data_key = aead.decrypt(self._cipher(key_id), nonce, ciphertext, _associated(key_id, context))
        if data_key is None:
            raise providing.does_not_unwrap(key_id)
        return data_key.reveal()

    def _cipher(self, key_id: str) -> Any:
        """Return the cipher of a key; making one takes longer than using it."""
        found = self._ciphers.get(key_id)
        if found is None:
            if key_id not in self._ring:
                raise providing.unknown_key(key_id)
            found = self._ciphers[key_id] = aead.cipher(self._ring[key_id])
        return found

    def __repr__(self) -> str:
        return f"KeyRing(key_ids={self.key_ids!r}, active={self._active!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A key ring cannot be copied or pickled")


def generate_key() -> bytes:
    """Return a new random key for a ring."""
    return aead.new_key().reveal()


def _associated(key_id: str, context: Mapping[str, str]) -> bytes:
    """Return what a data key's wrapping is bound to: the key, and the context in the order of its names."""
    names = sorted(context)
    return bound(["tierwright data key", key_id, *names, *[context[name] for name in names]])


def _contents(path: str | os.PathLike[str]) -> Hidden[str] | None:
    try:
        return Hidden(Path(path).read_text("utf-8"))
    except (OSError, ValueError):  # ValueError: not UTF-8; the error would hold all bytes
        return None
