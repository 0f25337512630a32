"""Bytes and texts put together so that they come apart in one way only.

A length is 4 bytes, big endian.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import pack, unpack_from

from tierwright.errors import EnvelopeInvalid, InvalidInput

_LENGTH = 4


def field(data: bytes) -> bytes:
    """Return bytes with their length before them."""
    return len(data).to_bytes(_LENGTH, "big") + data


def first(data: bytes, begins: int) -> bytes:
    """Return the :func:`field` that begins at a place; what follows it may have been cut off.

    Raises:
        EnvelopeInvalid: it was cut off itself.
    """
    starts = begins + _LENGTH
    ends = starts + int.from_bytes(data[begins:starts], "big")
    if starts > len(data) or ends > len(data):
        raise invalid("bytes are missing")
    return data[starts:ends]


def joined(parts: Sequence[bytes]) -> bytes:
    """Return the length of each part, and then all parts; their number is for the reader to know."""
    return pack(f">{len(parts)}I", *map(len, parts)) + b"".join(parts)


def split(data: bytes, begins: int, count: int) -> list[bytes]:
    """Return the parts that :func:`joined` has put together, from a place to the end.

    Raises:
        EnvelopeInvalid: bytes are missing or left over.
    """
    starts = begins + _LENGTH * count
    if len(data) < starts:
        raise invalid("bytes are missing")
    parts = []
    for length in unpack_from(f">{count}I", data, begins):
        parts.append(data[starts : starts + length])
        starts += length
    if starts != len(data):
        raise invalid("bytes are missing or left over")
    return parts


def listed(texts: Sequence[str]) -> bytes:
    """Return texts in UTF-8, with their number."""
    return len(texts).to_bytes(_LENGTH, "big") + joined([text.encode() for text in texts])


def unlisted(data: bytes) -> tuple[str, ...]:
    """Return the texts that :func:`listed` was given.

    Raises:
        EnvelopeInvalid: bytes are missing or left over, or are not UTF-8.
    """
    parts = split(data, _LENGTH, int.from_bytes(data[:_LENGTH], "big"))
    return tuple(text(part, "a name is not UTF-8") for part in parts)


def bound(texts: Sequence[str]) -> bytes:
    """Return texts as associated data, which nobody takes apart: with a NUL between them.

    Raises:
        InvalidInput: one of them holds a NUL, and could pass for two.
    """
    together = "\0".join(texts)
    if together.count("\0") >= len(texts):
        raise InvalidInput("A part of the context of secrets holds a NUL.", remedy="Leave it out.")
    return together.encode()


def text(data: bytes, otherwise: str) -> str:
    """Return bytes as text.

    Raises:
        EnvelopeInvalid: they are not UTF-8; ``otherwise`` says so.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        pass
    raise invalid(otherwise)


def invalid(problem: str) -> EnvelopeInvalid:
    """Return the error of bytes that are no envelope."""
    return EnvelopeInvalid(
        f"This is not an envelope of secrets: {problem}.",
        remedy="Restore the row from a backup, or set its secrets anew (replace).",
    )
