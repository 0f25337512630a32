"""The upkeep of the history on PostgreSQL: months ahead are made, and old ones dropped whole once they are archived."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from tierwright.audit.archive_manifest import Manifest
from tierwright.audit.archives import Archive, add_archives
from tierwright.audit.floor import raise_floor
from tierwright.audit.stored_rows import TABLE, Period, count_rows, lines, periods, stored_columns
from tierwright.audit.upkeep import Progress, Upkeep, Work, at_work, patiently
from tierwright.errors import InvalidInput, SchemaDrift
from tierwright.migrations.definitions import Partitioning
from tierwright.migrations.dialects.postgresql_locks import LOCK_NOT_AVAILABLE, not_acquired, sqlstate
from tierwright.migrations.dialects.postgresql_moving import move_rows, rows_outside
from tierwright.migrations.dialects.postgresql_partitions import Partition, months_ahead, partitions
from tierwright.types import utc_now

_LOG = Partitioning(TABLE, "performed_at")
_IDLE = "idle_session_timeout"
_LOCK = "SELECT pg_try_advisory_lock(%s)"


_MOST_APART = timedelta(days=1)
#: For a transaction that reads years, and waits for others between.
_UNHURRIED = (
    "SELECT set_config(name, '0', true) FROM pg_settings "
    "WHERE name IN ('statement_timeout', 'transaction_timeout', 'idle_in_transaction_session_timeout')"
)
_IS_WAITED_FOR = (
    "SELECT EXISTS (SELECT FROM pg_locks WHERE relation = %s::regclass AND mode = 'RowExclusiveLock' AND NOT granted "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()))"
)


class _ChangedMeanwhile(Exception):
    """Rows came, or were changed, after they were archived."""


class _InTheWay(Exception):
    """A writer waits for the partition, and holds the table, which is waited for."""


class PostgresqlWork(Work):
    """The upkeep on PostgreSQL."""

    def __init__(self, engine: Engine, upkeep: Upkeep, progress: Progress) -> None:
        engine = engine.execution_options()  # the caller's own keeps its time limits
        sa.event.listen(engine, "begin", lambda connection: connection.exec_driver_sql(_UNHURRIED))
        super().__init__(engine, upkeep, progress)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold a lock on a connection of its own: it ends with the process."""
        with super().alone(), self.engine.connect() as keeper:
            schema = keeper.exec_driver_sql("SELECT current_schema()").scalar_one()
            key = int.from_bytes(
                hashlib.sha256(f"tierwright maintain {schema}".encode()).digest()[:8], "big", signed=True
            )
            if not keeper.exec_driver_sql(_LOCK, (key,)).scalar_one():
                raise at_work()
            keeper.exec_driver_sql("SELECT set_config(name, '0', false) FROM pg_settings WHERE name = %s", (_IDLE,))
            keeper.commit()
            try:
                yield
            finally:
                keeper.exec_driver_sql("SELECT pg_advisory_unlock(%s)", (key,))
                keeper.exec_driver_sql(f"RESET {_IDLE}")
                keeper.commit()

    def prepare(self) -> None:
        """Make the months ahead, after those of rows that have none."""
        before = self._partitions()
        outside = self._rows_outside(before)
        if self.upkeep.dry_run:
            self.report.unmoved = outside
            return
        if outside > self.upkeep.most_moved:
            self.report.unmoved = outside
        elif outside:
            self.progress(f"moving {outside} rows that have no month")
            self._patient(lambda connection: connection.exec_driver_sql(_doubled(move_rows(_LOG))))
            self.report.moved = outside
        self.progress("making partitions ahead")
        self._patient(lambda connection: connection.exec_driver_sql(_doubled(months_ahead(_LOG, self.upkeep.ahead))))
        known = {each.name for each in before}
        self.report.partitions = [each.name for each in self._partitions() if each.name not in known]

    def let_go(self, cutoff: datetime) -> None:
        """Archive and drop the partitions that end before a moment, the oldest first."""
        self._refuse_wrong_clock()
        for partition in self._partitions():
            if partition.is_default or partition.upper is None or partition.upper > cutoff:
                continue
            due = self._periods(partition)
            if not self.may_go:
                self._tell(due)
            elif not self._let_go(partition, due):
                return  # what is older than the floor must have left: so no later one goes before it

    def _refuse_wrong_clock(self) -> None:
        """Refuse to let anything go by a clock that is not that of the server: it could be everything."""
        with self.engine.connect() as connection:
            there = connection.exec_driver_sql("SELECT now()").scalar_one()
        here = utc_now()
        if abs(there - here) > _MOST_APART:
            raise InvalidInput(
                f"It is {here:%Y-%m-%d %H:%M}Z here, and {there:%Y-%m-%d %H:%M}Z on the server.",
                remedy="Set the clock that is wrong; nothing was archived or dropped.",
            )

    def _let_go(self, partition: Partition, due: list[Period]) -> bool:
        """Return False if rows came meanwhile."""
        self.unrecorded.clear()
        archived = [(period, *self.archive(period)) for period in due]
        try:
            self._patient(lambda connection: self._drop(connection, partition, archived))
        except _ChangedMeanwhile:
            self.take_back()
            self.report.left += sum(self._count(period) for period in due)
            return False
        self.report.archives += [archive for _, _, archive in archived]
        self.report.removed += sum(archive.rows for _, _, archive in archived)
        self.report.dropped.append(partition.name)
        return True

    def _drop(
        self, connection: Connection, partition: Partition, archived: list[tuple[Period, Manifest | None, Archive]]
    ) -> None:
        """Compare once more, with nobody writing into it, and drop it with a record of what became of its rows."""
        self.progress(f"dropping {partition.name}")
        name = connection.dialect.identifier_preparer.quote(partition.name)  # it doubles percent signs itself
        connection.exec_driver_sql(f"LOCK TABLE {name} IN SHARE MODE")
        gone = []
        with Session(connection) as session:
            for period, manifest, archive in archived:
                if manifest is not None and _digest(connection, period) != manifest.content_sha256:
                    raise _ChangedMeanwhile
                gone.append(archive if manifest is not None else replace(archive, rows=count_rows(connection, period)))
            total = Period("", partition.lower, partition.upper or self.now)
            if count_rows(connection, total) != sum(archive.rows for archive in gone):
                raise _ChangedMeanwhile
            archived[:] = [(period, manifest, each) for (period, manifest, _), each in zip(archived, gone, strict=True)]
            raise_floor(connection, total.upper)
            add_archives(connection, *gone)
            for archive in gone:
                self.record(session, archive)
            session.flush()
            self._take_off(connection, name)

    def _take_off(self, connection: Connection, name: str) -> None:
        def attempt() -> bool:
            savepoint = connection.begin_nested()
            try:
                connection.exec_driver_sql(f"ALTER TABLE {TABLE} DETACH PARTITION {name}")
                connection.exec_driver_sql(f"DROP TABLE {name}")
            except DBAPIError as error:
                savepoint.rollback()
                if sqlstate(error) != LOCK_NOT_AVAILABLE:
                    raise
                if connection.exec_driver_sql(_IS_WAITED_FOR, (name.replace("%%", "%"),)).scalar_one():
                    raise _InTheWay from None
                return False
            savepoint.commit()
            return True

        patiently(self.upkeep, attempt, lambda: not_acquired(connection, self.upkeep.lock_wait, f"DETACH {name}"))

    def _patient(self, work: Callable[[Connection], object]) -> None:
        """Run something in a transaction; nobody queues behind one of its locks for longer than the timeout."""
        with self.engine.connect() as connection:

            def attempt() -> bool:
                try:
                    with connection.begin():
                        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(self.upkeep.lock_timeout * 1000)}")
                        work(connection)
                except _InTheWay:  # first it gets what it waits for
                    return False
                except DBAPIError as error:
                    if sqlstate(error) != LOCK_NOT_AVAILABLE:
                        raise
                    return False
                return True

            patiently(
                self.upkeep, attempt, lambda: not_acquired(connection, self.upkeep.lock_wait, f"locks on {TABLE}")
            )

    def _partitions(self) -> list[Partition]:
        with self.engine.connect() as connection:
            found = partitions(connection, TABLE)
        if not found:
            raise SchemaDrift(f"{TABLE} is not partitioned.", remedy="Run `tierwright db upgrade`, or `db repair`.")
        return found

    def _periods(self, partition: Partition) -> list[Period]:
        assert partition.upper is not None  # noqa: S101  one without an end is never dropped
        with self.engine.connect() as connection:
            return periods(connection, partition.upper, partition.lower)

    def _count(self, period: Period) -> int:
        with self.engine.connect() as connection:
            return count_rows(connection, period)

    def _tell(self, due: list[Period]) -> None:
        for period in due:
            rows = self._count(period)
            if self.upkeep.folder is None and not self.upkeep.drop_unarchived:
                self.report.due += rows
            else:
                self.report.archives.append(Archive(period.month, 1, None, rows, None))

    def _rows_outside(self, found: list[Partition]) -> int:
        query = rows_outside(_LOG, found)
        if query is None:
            return 0
        with self.engine.connect() as connection:
            return int(connection.exec_driver_sql(query.replace("*", "count(*)", 1)).scalar_one())


def _digest(connection: Connection, period: Period) -> str:
    digest = hashlib.sha256()
    for line in lines(connection, stored_columns(connection), period):
        digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def _doubled(statement: str) -> str:
    return statement.replace("%", "%%")
