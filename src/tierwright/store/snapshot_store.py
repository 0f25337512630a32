"""The store: the decisions of many tenants, each as old as its last reading from the database."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from itertools import islice
from time import monotonic
from types import TracebackType
from typing import Any, Self

from sqlalchemy.engine import Engine

from tierwright.errors import InvalidInput
from tierwright.services.session_state import forget
from tierwright.store.breaker import RETRY_SECONDS, Breaker
from tierwright.store.entry import Entry, decided_again
from tierwright.store.forking import call_after_fork
from tierwright.store.known_catalog import KnownCatalog
from tierwright.store.listener import Listener
from tierwright.store.loader import Loader
from tierwright.store.reader import Reader, Unintelligible, Unreadable
from tierwright.store.refresher import Refresher
from tierwright.store.replicas import Replicas
from tierwright.types import canonical_tenant_id

_log = logging.getLogger("tierwright.store")

_STRIPES = 64
#: How often a reading is begun again because a change overtook it.
_ATTEMPTS = 10
#: The shortest poll interval, in seconds, ahead of which tenants in use are read.
_SHORTEST_AHEAD = 0.1


class Overtaken(Exception):
    """Changes have overtaken every reading of a tenant."""


class SnapshotStore:
    """Answers about tenants from memory, never older than ``poll_interval`` while the database can be read.

    It is safe to use from many threads, and from processes that are forked after it was made. One is enough for a
    process and database. It reads through at most two connections of its own, and two to each replica.

    Args:
        engine: where the tables are, or its URL. An ``AsyncEngine`` is read through the synchronous driver for it.
        poll_interval: seconds after which a tenant is read again when it is asked for.
        max_staleness: seconds for which the last known answer is given while the database cannot be read; also the
            age at which the catalogue is read again although its version is the same.
        max_tenants: how many tenants are kept; past it, those whose last reading is the oldest go.
        timeout: seconds that connecting, or one reading, may take.
        background: whether a thread reads tenants in use again before they are too old. False leaves that to the
            caller, for serverless functions, whose threads stand still between calls.
        listen: True to hear of changes at once from PostgreSQL (LISTEN), over a connection of its own; or the URL of
            the server itself, where ``engine`` goes through a transaction-pooling proxy.
        heartbeat: seconds within which a listening connection that has died without a word is replaced.
        replicas: engines of streaming replicas of the same PostgreSQL database, from which tenants may be read.
        max_lag: seconds by which a replica that is read from may be behind, half of ``poll_interval`` at most. They
            are a part of ``poll_interval``: an answer is no older with replicas than without.

    Raises:
        StoreUnsupported: an in-memory SQLite database; ``listen`` or ``replicas`` on SQLite.
        InvalidInput: a number of seconds is negative or not finite, ``max_tenants`` is not at least 1, or
            ``replicas`` is no list.
    """

    def __init__(
        self,
        engine: Engine | Any,
        *,
        poll_interval: float = 5.0,
        max_staleness: float = 300.0,
        max_tenants: int = 100_000,
        timeout: float = 2.0,
        background: bool = True,
        listen: bool | str = False,
        heartbeat: float = 5.0,
        replicas: Sequence[Engine | Any] = (),
        max_lag: float = 1.0,
    ) -> None:
        for seconds in (poll_interval, max_staleness, timeout, heartbeat, max_lag):
            if not 0 <= seconds < float("inf"):
                raise InvalidInput("An interval is a finite number of seconds.", remedy="Pass 0 or more.")
        if max_tenants < 1:
            raise InvalidInput("A store keeps at least one tenant.", remedy="Pass max_tenants=1 or more.")
        self.poll_interval = poll_interval
        self.max_staleness = max(max_staleness, poll_interval)
        self.max_tenants = max_tenants
        #: By canonical tenant id; always the same object, so that it may be read without asking the store.
        self.entries: dict[str, Entry] = {}
        self._reader = Reader(engine, timeout)
        lag = min(max_lag, poll_interval / 2)
        options = {"max_lag": lag, "poll_interval": poll_interval, "timeout": timeout}
        sources = Replicas(self._reader, replicas, **options) if replicas else None
        self._breaker = Breaker(timeout)
        self._catalog = KnownCatalog(self._reader, self.max_staleness, self._forget_everything)
        self._loader = Loader(self._reader, sources, self._catalog, poll_interval, self._answered)
        # Reading ahead of an interval that is next to nothing would be reading all the time.
        ahead = background and poll_interval >= _SHORTEST_AHEAD
        self._refresher = Refresher(self.refresh, poll_interval / 2) if ahead else None
        self._listener = Listener(self._heard, self._reader.engine, listen, heartbeat) if listen else None
        self._start()
        call_after_fork(self)

    def entry(self, tenant_id: str) -> Entry | None:
        """Return the decisions of a tenant, read again if they are too old; None where nobody can tell.

        Args:
            tenant_id: in its canonical form.
        """
        found = self._current(tenant_id)
        if found is not None:
            return found
        if self._listener is not None:
            self._listener.start()
        try:
            found = self._read_once(tenant_id) if self._breaker.may_read() else None
        except (Overtaken, Unintelligible) as error:
            # The database is there, so what was known before is no answer.
            _log.warning("%s The tenant is denied this once. Cause: %s", error, error.__cause__)
            return None
        if found is None:
            return self._last_known(tenant_id)
        if self._refresher is not None:
            self._refresher.keep(tenant_id)
        return found

    def refresh(self, tenant_id: str) -> bool:
        """Read a tenant again, whatever its age; return whether the database could be read.

        Args:
            tenant_id: in its canonical form.
        """
        with self._reading[hash(tenant_id) % _STRIPES]:
            try:
                return monotonic() >= self._breaker.retry_at and self._read(tenant_id) is not None
            except (Overtaken, Unintelligible):
                return True  # whoever asks is told

    def forget(self, tenant: Any = None) -> None:
        """Have a tenant read anew when it is asked for next; without one, the catalogue and every tenant.

        Nothing that is being read at this moment is kept. While the database cannot be read, the last known answer
        goes on being given.

        Args:
            tenant: the tenant, as the host names it.

        Raises:
            InvalidInput: that is no tenant.
        """
        if tenant is None:
            self._forget_everything()
            return
        tenant_id = canonical_tenant_id(tenant)
        self._loader.forget(tenant_id)  # before the epoch: a reading of the new one must know it
        with self._lock:
            self._epochs[hash(tenant_id) % _STRIPES] += 1
            entry = self.entries.get(tenant_id)
            if entry is not None:
                entry.outdate()

    def forget_tenants(self) -> None:
        """Have every tenant read anew when it is asked for next, but not the catalogue."""
        self._loader.forget(None)
        with self._lock:
            for stripe in range(_STRIPES):
                self._epochs[stripe] += 1
            for entry in self.entries.values():
                entry.outdate()

    def close(self) -> None:
        """Stop the threads and close the connections; a later question starts them again."""
        if self._refresher is not None:
            self._refresher.stop()
        if self._listener is not None:
            self._listener.stop()
            self._forget_everything()  # nobody listens for what changes from now on
        self._loader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._reading = [threading.Lock() for _ in range(_STRIPES)]
        #: Counts what was forgotten; a reading that began under another number is not kept.
        self._epochs = [0] * _STRIPES

    def after_fork(self) -> None:
        """In a child process there are no threads, locks may be held by nobody, and connections are the parent's."""
        self._start()
        self._breaker.after_fork()
        self._loader.after_fork()
        self._catalog.after_fork()
        if self._refresher is not None:
            self._refresher.after_fork()
        if self._listener is not None:
            self._listener.after_fork()
            self._forget_everything()  # nobody listens in this process before the next reading

    # --- one tenant --------------------------------------------------------------------------------------------------

    def _current(self, tenant_id: str) -> Entry | None:
        """Return an entry that needs no reading: fresh, or decided again because a window opened or closed."""
        entry = self.entries.get(tenant_id)
        now = monotonic()
        if entry is None or now < entry.fresh_until:
            return entry
        return None if now >= entry.read_by else self._decided_again(tenant_id, entry, entry.read_by)

    def _last_known(self, tenant_id: str) -> Entry | None:
        """Return the newest answer there is while the database cannot be read, for as long as that is allowed."""
        entry = self.entries.get(tenant_id)
        if entry is None or monotonic() >= entry.read_at + self.max_staleness:
            entry = self._of_replica(tenant_id)
            if entry is None:
                return None
        ends = entry.read_at + self.max_staleness
        return self._decided_again(tenant_id, entry, min(ends, monotonic() + RETRY_SECONDS))

    def _of_replica(self, tenant_id: str) -> Entry | None:
        """Return what a replica has of a tenant while the primary cannot be read, if that is not too old."""
        stripe = hash(tenant_id) % _STRIPES
        with self._reading[stripe]:  # else it could come after, and take the place of, a later reading
            epoch = self._epochs[stripe]
            entry = self._loader.load_from_replica(tenant_id, self.max_staleness)
            return entry if entry is not None and self._keep(tenant_id, entry, stripe, epoch) else None

    def _decided_again(self, tenant_id: str, entry: Entry, fresh_until: float) -> Entry:
        made = decided_again(entry, fresh_until)
        with self._lock:
            if self.entries.get(tenant_id) is entry and entry.read_by == made.read_by:  # not forgotten meanwhile
                self.entries[tenant_id] = made
        return made

    def _read_once(self, tenant_id: str) -> Entry | None:
        """Read a tenant; of the callers that want the same one at the same time, one reads and the others wait."""
        failures = self._breaker.failures
        with self._reading[hash(tenant_id) % _STRIPES]:
            found = self._current(tenant_id)
            if found is None and self._breaker.failures == failures:  # else the one before us has failed just now
                found = self._read(tenant_id)
        return found

    def _read(self, tenant_id: str) -> Entry | None:
        try:
            entry = self._loaded(tenant_id)
        except Unreadable as error:
            self._breaker.failed()
            _log.warning("%s Answers are the last known ones, or none. Cause: %s", error, error.__cause__)
            return None
        except (Overtaken, Unintelligible):
            self._answered()
            raise
        return entry

    def _answered(self) -> None:
        """Where the database answers again, last known answers are good no longer."""
        if not self._breaker.answered():
            return
        with self._lock:
            for entry in self.entries.values():
                entry.fresh_until = min(entry.fresh_until, entry.read_by)

    def _loaded(self, tenant_id: str) -> Entry:
        stripe = hash(tenant_id) % _STRIPES
        for attempt in range(_ATTEMPTS):
            epoch = self._epochs[stripe]
            entry = self._loader.load(tenant_id, may_be_replica=attempt == 0)
            if entry is not None and self._keep(tenant_id, entry, stripe, epoch):
                return entry
        raise Overtaken(f"Changes have overtaken {_ATTEMPTS} readings of one tenant.")

    def _keep(self, tenant_id: str, entry: Entry, stripe: int, epoch: int) -> bool:
        with self._lock:
            if self._epochs[stripe] != epoch:
                return False
            self.entries.pop(tenant_id, None)  # so that the order of the entries is the order of their readings
            self.entries[tenant_id] = entry
            if len(self.entries) > self.max_tenants:
                # Several at once: finding the first key of a dictionary costs as much as was deleted before it.
                for oldest in list(islice(self.entries, 1 + self.max_tenants // 64)):
                    del self.entries[oldest]
            return True

    def _forget_everything(self) -> None:
        self._catalog.forget()
        self.forget_tenants()

    def _heard(self, word: str) -> None:
        forget(self, word)
