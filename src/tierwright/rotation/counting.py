"""How many rows are under which key, without a key."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from sqlalchemy.engine import Connection

from tierwright.errors import EnvelopeInvalid
from tierwright.rotation.rows import beginnings
from tierwright.secrets.envelope import key_id_of
from tierwright.services.tenant_scope import require_all_tenants

_PAGE = 5000


@dataclass(frozen=True, slots=True)
class KeyCount:
    """The rows that hold secrets.

    Attributes:
        rows: their number by key id, the most first.
        unreadable: how many hold something that is no envelope.
    """

    rows: Mapping[str, int]
    unreadable: int

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.rows.values()) + self.unreadable


def count_keys(connection: Connection) -> KeyCount:
    """Count the rows under each key; nothing is decrypted.

    Raises:
        PrivilegeMissing: row-level security hides rows from the current role.
    """
    require_all_tenants(connection)
    found: Counter[str | None] = Counter()
    for page in beginnings(connection, _PAGE):
        found.update(map(_key_id, page))
    unreadable = found.pop(None, 0)
    return KeyCount(MappingProxyType({str(key_id): count for key_id, count in found.most_common()}), unreadable)


def _key_id(beginning: bytes) -> str | None:
    try:
        return key_id_of(beginning)
    except EnvelopeInvalid:
        return None
