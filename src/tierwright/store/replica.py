"""One replica: connections of its own, never waited for longer than once, and never believed without a proof."""

from __future__ import annotations

import logging
from contextlib import suppress
from queue import Empty, LifoQueue, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple

from sqlalchemy.engine import Engine

from tierwright.errors import StoreUnsupported
from tierwright.services.place_statements import TENANT_ON_REPLICA
from tierwright.store.breaker import Breaker
from tierwright.store.connecting import Attempt
from tierwright.store.place import Place, place_in
from tierwright.store.positions import Position, Positions
from tierwright.store.reader import MAX_CONNECTIONS, Busy, Reader, Rows, Unintelligible, Unreadable, connection_of

_log = logging.getLogger("tierwright.store")

#: A reading may wait so often: for a free connection, an answer on a kept one, a new one, and an answer on that.
_WAITS = 4
#: Of so many server processes it is remembered how far they were; behind a proxy there may be many.
_BACKENDS = 32
#: A replica that is behind is left alone for so long, and spoken of when that has lasted for so long.
_BEHIND_SECONDS, _TOLD_SECONDS = 0.1, 1.0


class Passed(NamedTuple):
    """Rows of a replica, and the newest position of the primary that it had passed before it read them."""

    rows: Rows
    position: Position


class Replica(Reader):
    """Reads tenants from a streaming replica, if it proves to be recent enough.

    A replica says how far it has replayed together with the rows, but after their snapshot was taken. So that counts
    for the next statement of the same server process: what the process had replayed by then, the next snapshot shows.

    Whoever finds it dead waits no longer than the time limit. From then on nobody waits: it is left alone for a while,
    and then connected to while the callers are answered by the primary.

    Args:
        engine: the replica's.
        timeout: seconds that a reading may take, with all that it waits for.

    Raises:
        StoreUnsupported: it is no PostgreSQL.
    """

    def __init__(self, engine: Engine | Any, timeout: float) -> None:
        self._attempts: SimpleQueue[Attempt] = SimpleQueue()
        #: By server process: up to where it had replayed. Replaced and never changed, so that a reading can keep it.
        self._replayed: dict[str, int] = {}
        self._behind_until = self._behind_since = 0.0
        self._state = ""
        self._breaker = Breaker(timeout)
        super().__init__(engine, timeout / _WAITS)
        if self.engine.dialect.name != "postgresql":
            raise StoreUnsupported(
                f"A replica is a PostgreSQL server in recovery, and this engine is of {self.engine.dialect.name}.",
                remedy="Pass engines of streaming replicas, or leave `replicas` out.",
            )
        self._placed = self.compiled(TENANT_ON_REPLICA)
        self._name = f"{self.engine.url.host}:{self.engine.url.port or 5432}"

    def may_be_asked(self) -> bool:
        """Tell whether it may be asked now; who is told so must do it."""
        return monotonic() >= self._behind_until and self._breaker.may_read()

    def passed(self, tenant_id: str, positions: Positions, since: float, oldest: float) -> Passed | None:
        """Return the rows of a tenant; None where the primary must be asked.

        Args:
            tenant_id: in its canonical form.
            positions: of the primary.
            since: everything that was committed before this moment must be in them.
            oldest: the same for any tenant; a replica that is behind this is left alone for a moment.
        """
        try:
            found = self._read(tenant_id, positions, since, oldest)
        except Busy:
            return None  # that is no reason to leave it alone
        except Unintelligible:
            found = None  # it concerns this tenant only, and the primary says so as well
        except Unreadable as error:
            self._breaker.failed()
            self._say("down", f"cannot be read and is left alone. Cause: {error.__cause__ or error}")
            super().close()  # the other connection need not fail as well
            if self._attempts.empty():
                self._attempts.put(Attempt(self._open, self._close))
            return None
        self._breaker.answered()
        return found

    def after_fork(self) -> None:
        """Start anew in a child process, without the parent's connections and attempts."""
        self._inherited.append(self._attempts)
        self._attempts = SimpleQueue()
        self._breaker.after_fork()
        super().after_fork()

    def close(self) -> None:
        """Close the connections, also those that are still being made."""
        with suppress(Empty):
            while True:
                self._attempts.get_nowait().abandon()
        super().close()

    def _start(self) -> None:
        super()._start()
        # The connection that was used last comes first: it has told how far its server is, and it is there.
        self._places = LifoQueue()
        for _ in range(MAX_CONNECTIONS):
            self._places.put(None)

    def _read(self, tenant_id: str, positions: Positions, since: float, oldest: float) -> Passed | None:
        for _ in range(2):
            replayed = self._replayed  # what was known before the statement is sent
            rows = self.tenant(tenant_id, self._placed)
            place = place_in(rows)
            self._remember(place)
            position = positions.passed_by(place._replace(lsn=replayed.get(place.mark)))
            if position is not None and position.read_at >= since:
                self._say("", "is read from again.")
                return Passed(rows, position)
            position = positions.passed_by(place)
            if position is None or position.read_at < since:  # asked again it would say the same
                self._leave(positions.is_foreign(place), position is None or position.read_at < oldest)
                return None
        return None  # another process has answered each time

    def _remember(self, place: Place) -> None:
        if place.lsn is None:
            return
        kept = {mark: lsn for mark, lsn in self._replayed.items() if mark != place.mark}
        self._replayed = {**dict(list(kept.items())[1 - _BACKENDS :]), place.mark: place.lsn}

    def _leave(self, is_foreign: bool, is_behind: bool) -> None:
        """Leave it alone for a moment if that is not about one tenant only."""
        if not is_behind:
            return
        now = monotonic()
        self._behind_until = now + _BEHIND_SECONDS
        self._behind_since = self._behind_since or now
        if is_foreign:
            self._say("foreign", "is no replica in recovery of this very database, on the same timeline.")
        elif now - self._behind_since >= _TOLD_SECONDS:
            self._say("behind", "is behind.")

    def _say(self, state: str, what: str) -> None:
        if not state:
            self._behind_since = 0.0
        if state != self._state:
            self._state = state
            _log.log(logging.WARNING if state else logging.INFO, "Replica %s %s", self._name, what)

    def _connect(self) -> Any:
        """Return a new connection; where the replica was dead, one that was begun by an earlier caller."""
        try:
            attempt = self._attempts.get_nowait()
        except Empty:
            attempt = Attempt(self._open, self._close)
        if not attempt.done.wait(0.0 if self._breaker.retry_at else self.timeout):
            self._attempts.put(attempt)
            raise Unreadable("It has not accepted a connection yet.")
        return connection_of(attempt)
