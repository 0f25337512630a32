"""Bytes that follow each other, each run with its length before it, so that they come apart in one way only."""

from __future__ import annotations

from collections.abc import Iterable

from tierwright.errors import EnvelopeInvalid

_LENGTH = 4


def number(value: int) -> bytes:
    """Return a count as 4 bytes, big endian."""
    return value.to_bytes(_LENGTH, "big")


def field(data: bytes) -> bytes:
    """Return bytes with their length before them."""
    return len(data).to_bytes(_LENGTH, "big") + data


def fields(texts: Iterable[str]) -> bytes:
    """Return texts in UTF-8, each with its length before it."""
    return b"".join([len(data).to_bytes(_LENGTH, "big") + data for data in map(str.encode, texts)])


class Reader:
    """Takes an envelope apart, from its beginning to its end.

    Args:
        blob: the envelope, or its beginning.
    """

    def __init__(self, blob: bytes) -> None:
        self._blob = bytes(blob)
        self._at = 0

    def take(self, count: int) -> bytes:
        """Return the next bytes.

        Raises:
            EnvelopeInvalid: there are not so many.
        """
        taken = self._blob[self._at : self._at + count]
        if len(taken) < count:
            raise invalid("bytes are missing")
        self._at += count
        return taken

    def number(self) -> int:
        """Return the next count; raises as :meth:`take`."""
        return int.from_bytes(self.take(_LENGTH), "big")

    def field(self) -> bytes:
        """Return the next bytes that have their length before them; raises as :meth:`take`."""
        begins = self._at + _LENGTH
        ends = begins + int.from_bytes(self._blob[self._at : begins], "big")
        if ends > len(self._blob) or begins > len(self._blob):
            raise invalid("bytes are missing")
        self._at = ends
        return self._blob[begins:ends]

    def text(self) -> str:
        """Return the next field as text.

        Raises:
            EnvelopeInvalid: it is not UTF-8, or bytes are missing.
        """
        text = _decoded(self.field())
        if text is None:
            raise invalid("it holds text that is not UTF-8")
        return text

    def counted(self) -> bytes:
        """Return a count and as many fields, still encoded; raises as :meth:`take`."""
        begins = self._at
        for _ in range(self.number()):
            self.field()
        return self._blob[begins : self._at]

    def end(self) -> None:
        """Refuse anything that follows.

        Raises:
            EnvelopeInvalid: something does.
        """
        if self._at != len(self._blob):
            raise invalid("bytes are left over")


def invalid(problem: str) -> EnvelopeInvalid:
    """Return the error of bytes that are no envelope."""
    return EnvelopeInvalid(
        f"This is not an envelope of secrets: {problem}.",
        remedy="Restore the row from a backup, or set its secrets anew (replace).",
    )


def _decoded(data: bytes) -> str | None:
    try:
        return data.decode()
    except UnicodeDecodeError:
        return None
