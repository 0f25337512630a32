"""From a tenant's rows, wherever they are read, and the catalogue that fits them, to its decisions."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic

from tierwright.services.reading import tenant_of, version_in
from tierwright.store.entry import Entry, resolved
from tierwright.store.known_catalog import KnownCatalog
from tierwright.store.reader import Reader
from tierwright.store.replicas import Replicas, Times


class Loader:
    """Reads tenants, each together with a catalogue of the same version.

    Args:
        reader: reads from the primary.
        replicas: read instead of it where they may; None where there are none.
        catalog: always of the primary, so that a replica that is behind does not look like a restored database.
        poll_interval: seconds after which a reading is too old.
        answered: called whenever the primary has answered.
    """

    def __init__(
        self,
        reader: Reader,
        replicas: Replicas | None,
        catalog: KnownCatalog,
        poll_interval: float,
        answered: Callable[[], None],
    ) -> None:
        self._reader = reader
        self._replicas = replicas
        self._catalog = catalog
        self._poll_interval = poll_interval
        self._answered = answered
        self._times = (float("-inf"), 0.0)

    def load(self, tenant_id: str, *, may_be_replica: bool) -> Entry | None:
        """Return a tenant's decisions; None where its rows and the catalogue do not fit together: ask again.

        Args:
            tenant_id: in its canonical form.
            may_be_replica: whether a replica may be read; one that is behind would not fit the second time either.

        Raises:
            Unreadable: the primary cannot be read.
            Unintelligible: a row of this tenant cannot be read.
        """
        catalog = self._catalog.current()
        read_at, read_by = times = self._reading_times()
        if self._replicas is None:
            rows, is_of_primary = self._reader.tenant(tenant_id), True
        else:
            read = self._replicas.tenant if may_be_replica else self._replicas.of_primary
            rows, (read_at, read_by), is_of_primary = read(tenant_id, times)
        if is_of_primary:
            self._answered()
        version = version_in(rows)
        if version != catalog.version:
            if is_of_primary:
                catalog = self._catalog.newer_than(catalog)
            if version != catalog.version:
                return None
        return resolved(catalog.snapshot, tenant_of(rows), read_at, read_by)

    def load_from_replica(self, tenant_id: str, max_lag: float) -> Entry | None:
        """Return a tenant's decisions by a replica and the catalogue that is known; None where there are none.

        Args:
            tenant_id: in its canonical form.
            max_lag: seconds by which the replica may be behind.
        """
        catalog = self._catalog.newest
        if self._replicas is None or catalog is None:
            return None
        reading = self._replicas.of_replica(tenant_id, max_lag)
        if reading is None or version_in(reading.rows) != catalog.version:
            return None
        return resolved(catalog.snapshot, tenant_of(reading.rows), *reading.times)

    def forget(self, tenant_id: str | None) -> None:
        """Have a tenant, or without one every tenant, read as of this moment or later, wherever it is read."""
        if self._replicas is not None:
            self._replicas.from_now_on(tenant_id)

    def after_fork(self) -> None:
        """Start anew in a child process, without the parent's connections."""
        self._reader.after_fork()
        if self._replicas is not None:
            self._replicas.after_fork()

    def close(self) -> None:
        """Close the connections; a later question makes new ones."""
        self._reader.close()
        if self._replicas is not None:
            self._replicas.close()

    def _reading_times(self) -> Times:
        """Return when a reading that begins now began, and when it is too old.

        All readings within a moment share the same two numbers, the earlier ones: a hundred thousand entries with
        numbers of their own would be as much more memory to fetch for each answer.
        """
        times = self._times
        now = monotonic()
        if not 0 <= now - times[0] < self._poll_interval / 100:
            times = self._times = (now, now + self._poll_interval)
        return times
