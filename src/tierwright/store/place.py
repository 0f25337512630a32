"""Where a PostgreSQL server stands: in which history, and how far in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from tierwright.services.statements import Kind

_PLACE = int(Kind.PLACE)
#: The sizes of the headers that a page of the log, and the first page of a segment, begin with.
_PAGE_HEADERS = (24, 40)


class Place(NamedTuple):
    """What a server says of itself, after the snapshot was taken that its other rows are read with.

    Attributes:
        mark: of a replica, the process that answered, which is another one after a restart; of a primary its snapshot,
            which is the same one as long as nothing is committed.
        history: the cluster, the database, our tables in it, and the timeline. Positions can be compared within one.
        lsn: the position in the write-ahead log; None of a primary that was asked as a replica, or the reverse.
    """

    mark: str
    history: str
    lsn: int | None


def place_in(rows: Sequence[Sequence[Any]]) -> Place:
    """Return the place that tagged rows carry."""
    row = next(row for row in rows if row[0] == _PLACE)
    *timeline, block_size = row[7].split()
    history = f"{row[1]} {int(timeline[0], 16) if timeline else 'of no primary'}"
    return Place(row[3], history, None if row[6] is None else _before_header(row[6], int(block_size)))


def _before_header(lsn: int, block_size: int) -> int:
    """Return the end of the last record for a position at which the next one may be written.

    At the end of a page a primary names the position behind the next page's header, and a replica that has replayed
    everything the one before it. No record ends within a header, or right behind one without crossing it.
    """
    offset = lsn % block_size
    return lsn - offset if offset in _PAGE_HEADERS else lsn
