"""Asking a key provider: whatever it is and does, what comes back is a data key or a typed error.

What a provider raises is not chained to that error: its frames have held the data key in the clear.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from tierwright.errors import DecryptionFailed, SecretsNotConfigured, TierwrightError, UnknownKeyId
from tierwright.secrets import aead
from tierwright.secrets.hidden import Hidden
from tierwright.secrets.key_text import is_key_id

if TYPE_CHECKING:
    from tierwright.secrets.keys import KeyProvider

T = TypeVar("T")


def required(keys: KeyProvider | None) -> KeyProvider:
    """Return the key provider.

    Raises:
        SecretsNotConfigured: there is none.
    """
    if keys is None:
        raise SecretsNotConfigured(
            "Secrets cannot be read or written without keys.",
            remedy="Pass keys=KeyRing.from_environment(), or another key provider.",
        )
    return keys


def active_key_id(keys: KeyProvider) -> str:
    """Return the key that wraps.

    Raises:
        SecretsNotConfigured: what the provider names is no key id, or it fails.
    """
    found = _asked(lambda: keys.active_key_id)
    if is_key_id(found):
        return str(found)
    raise _cannot_wrap("names no active key", found)


def wrapped(keys: KeyProvider, key_id: str, data_key: Hidden[bytes], context: Mapping[str, str]) -> bytes:
    """Return the data key as the provider wraps it.

    Raises:
        SecretsNotConfigured: the provider fails, or what it returns is not bytes.
        TierwrightError: as the provider raised it.
    """
    found = _asked(lambda: keys.wrap(key_id, data_key.reveal(), context))
    if isinstance(found, bytes):
        return found
    raise _cannot_wrap("does not wrap", found)


def unwrapped(keys: KeyProvider, key_id: str, wrapped: bytes, context: Mapping[str, str]) -> Hidden[bytes]:
    """Return the data key.

    Raises:
        DecryptionFailed: the provider fails, or what it returns is no data key.
        TierwrightError: as the provider raised it.
    """
    found = _asked(lambda: _data_key(keys.unwrap(key_id, wrapped, context)))
    if isinstance(found, Hidden):
        return found
    raise found if isinstance(found, TierwrightError) else does_not_unwrap(key_id, _class_of(found))


def unknown_key(key_id: str) -> UnknownKeyId:
    """Return the error of a key that the provider does not have."""
    return UnknownKeyId(
        f"The key {key_id!r} is not among the keys of this process.",
        remedy="Add it; a key is retired only when `tierwright secrets status` counts no row on it.",
        details={"key_id": key_id},
    )


def does_not_unwrap(key_id: str, cause: str | None = None) -> DecryptionFailed:
    """Return the error of a data key that does not come out of its wrapping.

    Args:
        key_id: the key that should do it.
        cause: the class of what the provider raised.
    """
    return DecryptionFailed(
        f"The key {key_id!r} does not unwrap the data key{f' ({cause})' if cause else ''}.",
        remedy="Check that it is the key of that id, and that the row is the one that was written.",
        details={"key_id": key_id} | ({"cause": cause} if cause else {}),
    )


class _Failure(NamedTuple):
    """What a provider raised, without its message, which may repeat what it was given."""

    cause: str


def _asked(question: Callable[[], T]) -> T | TierwrightError | _Failure:
    """Return the answer; or an error of ours without the frames that it has come through; or that there was another."""
    try:
        return question()
    except TierwrightError as error:
        error.__traceback__ = error.__cause__ = error.__context__ = None
        return error
    except Exception as error:  # whatever a key management service's client raises
        return _Failure(type(error).__name__)


def _data_key(found: object) -> Hidden[bytes] | None:
    return Hidden(found) if isinstance(found, bytes) and len(found) == aead.KEY else None


def _class_of(found: object) -> str | None:
    return found.cause if isinstance(found, _Failure) else None


def _cannot_wrap(problem: str, found: object) -> TierwrightError:
    if isinstance(found, TierwrightError):
        return found
    cause = _class_of(found)
    return SecretsNotConfigured(
        f"The key provider {problem}{f' ({cause})' if cause else ''}.",
        remedy="Look at the key provider: its configuration, its permissions, its service.",
        details={"cause": cause} if cause else {},
    )
