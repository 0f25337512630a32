"""The compiled catalogue of a store, as new as its version says."""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic

from tierwright.services.reading import Catalog, catalog_of
from tierwright.store.reader import Reader


class KnownCatalog:
    """Keeps the catalogue, and reads it again when its version has changed.

    Args:
        reader: reads it.
        max_age: seconds after which it is read again although its version is the same, because rows may have been
            written past the services, which count the version up.
        on_restore: called when the database has gone back to an older version: then nothing that is known need be
            true.
    """

    def __init__(self, reader: Reader, max_age: float, on_restore: Callable[[], None]) -> None:
        self.newest: Catalog | None = None
        self._reader = reader
        self._max_age = max_age
        self._on_restore = on_restore
        self._read_at = 0.0
        self.after_fork()

    def after_fork(self) -> None:
        """Take new locks; the parent's may be held by nobody."""
        self._lock = threading.Lock()
        self._reading = threading.Lock()
        #: Counts how often it was forgotten; a reading that began under another number is not kept.
        self._epoch = 0

    def forget(self) -> None:
        """Have it read anew when it is needed next."""
        with self._lock:
            self._epoch += 1
            self._read_at = float("-inf")

    def current(self) -> Catalog:
        """Return the catalogue, read again if there is none or if its version proves nothing any more.

        Raises:
            Unreadable: the database cannot be read.
        """
        known = self.newest
        if known is None or monotonic() >= self._read_at + self._max_age:
            return self.newer_than(known)
        return known

    def newer_than(self, known: Catalog | None) -> Catalog:
        """Return the catalogue, read after the one that is known; of many callers one reads.

        Raises:
            Unreadable: the database cannot be read.
        """
        with self._reading:
            if self.newest is not None and self.newest is not known:
                return self.newest  # another thread has just read it
            epoch = self._epoch
            read_at = monotonic()
            found = catalog_of(self._reader.catalog())
            if known is not None and found.version != known.version and found.version[0] <= known.version[0]:
                self._on_restore()  # versions only rise, unless the database was restored
                epoch = self._epoch
            with self._lock:
                if epoch == self._epoch:
                    self.newest, self._read_at = found, read_at
            return found
