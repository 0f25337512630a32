"""What a write says when it is done."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


@dataclass(frozen=True)
class WriteResult:
    """What a write did.

    Attributes:
        changed: whether anything was written.
        warnings: what the writer should know, each a sentence.
    """

    changed: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PurgeResult(WriteResult):
    """What a purge did.

    Attributes:
        deleted: the number of rows by table.
    """

    deleted: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))


#: Everything was as the call wants it.
UNCHANGED = WriteResult(False)
