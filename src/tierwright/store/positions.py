"""Where the primary stood lately, which says how old the answer of a replica is."""

from __future__ import annotations

import threading
from typing import NamedTuple

from tierwright.store.place import Place

#: So many are remembered.
_KEPT = 8


class Position(NamedTuple):
    """A position of the primary: whoever has passed it shows everything that was committed before ``read_at``.

    Attributes:
        lsn: the position, asked for after ``read_at``.
        read_at: in seconds of the monotonic clock.
        read_by: when an answer that shows no more than that is too old.
        snapshot: the primary's at that moment.
    """

    lsn: int
    read_at: float
    read_by: float
    snapshot: str


class Positions:
    """The latest positions of the primary, oldest first. Readers see one state of them without a lock."""

    def __init__(self) -> None:
        self._held: tuple[str, tuple[Position, ...]] = ("", ())
        self.after_fork()

    def after_fork(self) -> None:
        """Take a new lock; the parent's may be held by nobody."""
        self._lock = threading.Lock()

    @property
    def oldest_at(self) -> float:
        """When the oldest one was taken; every other was taken later."""
        held = self._held[1]
        return held[0].read_at if held else float("inf")

    @property
    def newest_at(self) -> float:
        """When the newest one was taken."""
        held = self._held[1]
        return held[-1].read_at if held else float("-inf")

    def note(self, history: str, position: Position) -> None:
        """Remember where the primary stands.

        Positions of another history say nothing any more: a replica was promoted, or the database was restored.
        """
        with self._lock:
            known, held = self._held
            if held and position.read_at <= held[-1].read_at:
                return  # what is known says more, and moments before it may have been let go of
            if held and (known != history or position.lsn < held[-1].lsn):
                held = ()
            elif held and position.snapshot == held[-1].snapshot:
                # Nothing was committed since. What else is in the log, nobody may have sent to a replica yet.
                position = position._replace(lsn=held[-1].lsn)
            self._held = (history, (*held[1 - _KEPT :], position))

    def passed_by(self, place: Place) -> Position | None:
        """Return the newest position that a replica at a place has passed; None where there is none."""
        history, held = self._held
        if place.lsn is None or place.history != history:
            return None
        return next((position for position in reversed(held) if position.lsn <= place.lsn), None)

    def is_foreign(self, place: Place) -> bool:
        """Tell whether a place is not in the primary's history, so that it says nothing."""
        return place.lsn is None or place.history != self._held[0]
