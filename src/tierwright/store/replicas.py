"""From where a tenant is read: the primary, or a replica that has passed what must be seen."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from time import monotonic
from typing import Any, NamedTuple

from sqlalchemy.engine import Engine

from tierwright.errors import InvalidInput, StoreUnsupported
from tierwright.services.place_statements import TENANT_ON_PRIMARY
from tierwright.store.place import place_in
from tierwright.store.positions import Position, Positions
from tierwright.store.reader import Reader, Rows, Unreadable
from tierwright.store.replica import Replica

_log = logging.getLogger("tierwright.store")

#: So often within the longest lag a reading goes to the primary, and brings its position along.
_PER_LAG = 4
#: Seconds until a primary is asked again that did not say where it stands.
_WITHOUT_SECONDS = 60.0
#: So many tenants are known one by one.
_MAX_TENANTS = 100_000
_NEVER = float("-inf")

#: When a reading began, and when it is too old.
Times = tuple[float, float]


class Reading(NamedTuple):
    """The rows of a tenant, and as when they count."""

    rows: Rows
    times: Times
    is_of_primary: bool


class Replicas:
    """Reads tenants from replicas, each as of a position of the primary, and from the primary where that must be.

    A tenant must be read as of a moment that is neither before the longest lag, nor before the last time that somebody
    said that it has changed, nor before its own last reading ended: an answer never goes back behind an earlier one.

    Args:
        primary: reads from the primary.
        engines: of the replicas.
        max_lag: seconds by which a replica may be behind.
        poll_interval: seconds after which a reading is too old.
        timeout: seconds that a reading from a replica may take.

    Raises:
        StoreUnsupported: the primary, or a replica, is no PostgreSQL.
        InvalidInput: ``engines`` is no list.
    """

    def __init__(
        self, primary: Reader, engines: Sequence[Engine | Any], *, max_lag: float, poll_interval: float, timeout: float
    ) -> None:
        if not isinstance(engines, list | tuple):
            raise InvalidInput("`replicas` is no list of engines.", remedy="Write replicas=[engine].")
        if primary.engine.dialect.name != "postgresql":
            raise StoreUnsupported(
                f"{primary.engine.dialect.name} has no replicas.", remedy="Leave `replicas` out, or use PostgreSQL."
            )
        self._primary = primary
        self._placed_statement = primary.compiled(TENANT_ON_PRIMARY)
        self._replicas = [Replica(engine, timeout) for engine in engines]
        self._max_lag = max_lag
        self._poll_interval = poll_interval
        self._positions = Positions()
        self._turn = 0
        #: When a reading brings the primary's position along next.
        self._due_at = _NEVER if max_lag else float("inf")
        self._all_since = _NEVER
        #: By tenant, as of when it must be read: what was said lately, and what was said before that.
        self._lately: dict[str, float] = {}
        self._before: dict[str, float] = {}
        self._turned_at = monotonic()
        self._lock = threading.Lock()

    def tenant(self, tenant_id: str, times: Times) -> Reading:
        """Read a tenant from a replica if one may be asked, else from the primary.

        Args:
            tenant_id: in its canonical form.
            times: of a reading that begins now.

        Raises:
            Unreadable, Unintelligible: of the primary.
        """
        if monotonic() < self._due_at:
            found = self.of_replica(tenant_id, self._max_lag)
            if found is not None:
                return found
        return self.of_primary(tenant_id, times)

    def of_primary(self, tenant_id: str, times: Times) -> Reading:
        """Read a tenant from the primary; now and then its position comes along.

        Args:
            tenant_id, times: as in :meth:`tenant`.

        Raises:
            Unreadable, Unintelligible: of the primary.
        """
        if monotonic() < self._due_at:
            rows = self._primary.tenant(tenant_id)
        else:
            self._due_at = monotonic() + self._max_lag / _PER_LAG  # the others need not ask as well
            rows = self._placed(tenant_id)
        self.from_now_on(tenant_id)
        return Reading(rows, times, True)

    def of_replica(self, tenant_id: str, max_lag: float) -> Reading | None:
        """Read a tenant from a replica; None where none may be asked, or none has passed what must be seen.

        Args:
            tenant_id: in its canonical form.
            max_lag: seconds by which it may be behind.
        """
        oldest = monotonic() - max_lag
        since = max(oldest, self._since(tenant_id))
        if self._positions.newest_at < since:
            return None
        for replica in self._in_turn():
            if not replica.may_be_asked():
                continue
            found = replica.passed(tenant_id, self._positions, since, oldest)
            if found is None:
                return None  # whoever waited for one replica in vain is not made to wait for the next
            self.from_now_on(tenant_id)
            return Reading(found.rows, (found.position.read_at, found.position.read_by), False)
        return None

    def from_now_on(self, tenant_id: str | None) -> None:
        """Have a tenant, or without one every tenant, read as of this moment or later."""
        with self._lock:
            if tenant_id is None or len(self._lately) >= _MAX_TENANTS:
                self._all_since = monotonic()
                self._lately, self._before = {}, {}
            else:
                self._lately[tenant_id] = monotonic()

    def after_fork(self) -> None:
        """Start anew in a child process; what is known stays."""
        self._lock = threading.Lock()
        self._positions.after_fork()
        for replica in self._replicas:
            replica.after_fork()

    def close(self) -> None:
        """Close the connections to the replicas."""
        for replica in self._replicas:
            replica.close()

    def _since(self, tenant_id: str) -> float:
        lately, before = self._lately, self._before
        return max(self._all_since, lately.get(tenant_id, _NEVER), before.get(tenant_id, _NEVER))

    def _in_turn(self) -> list[Replica]:
        self._turn = first = (self._turn + 1) % len(self._replicas)
        return self._replicas[first:] + self._replicas[:first]

    def _placed(self, tenant_id: str) -> Rows:
        """Read a tenant from the primary, and where that stands."""
        began = monotonic()
        try:
            rows = self._primary.tenant(tenant_id, self._placed_statement)
        except Unreadable as error:
            if not _is_refused(error.__cause__):
                raise
            self._do_without(str(error.__cause__))
            return self._primary.tenant(tenant_id)
        place = place_in(rows)
        if place.lsn is None:
            self._do_without("it is in recovery")
        else:
            self._positions.note(place.history, Position(place.lsn, began, began + self._poll_interval, place.mark))
            self._turn_over()
        return rows

    def _do_without(self, why: str) -> None:
        self._due_at = monotonic() + _WITHOUT_SECONDS
        _log.warning("The primary does not say where it stands, so no replica is asked for a while. Cause: %s", why)

    def _turn_over(self) -> None:
        """Let go of moments that are before every position that is known: whoever has passed one shows all of them."""
        with self._lock:
            if self._positions.oldest_at >= self._turned_at:
                self._lately, self._before = {}, self._lately
                self._turned_at = monotonic()


def _is_refused(error: BaseException | None) -> bool:
    """Tell whether a server has answered that it does not know, or allow, what it was asked for."""
    state = getattr(error, "sqlstate", None) or getattr(error, "pgcode", None) or ""
    return state[:2] == "42"
