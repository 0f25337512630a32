"""The upkeep of the history on SQLite: archived rows are deleted, a batch in a transaction, below the floor."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from time import monotonic, sleep
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.audit.archive_files import read_lines, verify_archive
from tierwright.audit.archive_lines import forms_of_id, line_of_stored, stored_value, values_of
from tierwright.audit.archives import Archive, add_archives, complete_archive, next_part, read_archives
from tierwright.audit.floor import raise_floor
from tierwright.audit.odd_rowid import is_in_the_way, make_way
from tierwright.audit.passes import Purpose, history_pass
from tierwright.audit.reading import undecoded
from tierwright.audit.stored_rows import IS_TEXT, TABLE, Period, count_rows, periods, stored_columns
from tierwright.audit.upkeep import Work, at_work
from tierwright.errors import ArchiveDamaged, LockNotAcquired
from tierwright.services.catalog_version import lock_file
from tierwright.services.transactions import run_in_transaction
from tierwright.tables.history_guards import NO_ROWID
from tierwright.types import AuditAction

_LONGEST_PAUSE = 0.1


class SqliteWork(Work):
    """The upkeep on SQLite."""

    def prepare(self) -> None:
        """Make way where a row keeps others out; a file has room."""
        if not self.upkeep.dry_run:
            self.report.freed = run_in_transaction(self.sessions, self._make_way)
            return
        with self.engine.connect() as connection:
            self.report.freed = int(is_in_the_way(connection))

    def _make_way(self, session: Session) -> int:
        rowid = make_way(session.connection())
        if rowid is None:
            return 0
        self.write(session, AuditAction.UPDATED, {"rowid": rowid}, {"rowid": NO_ROWID})
        return 1

    def let_go(self, cutoff: datetime) -> None:
        """Finish what a killed run has begun; then archive and delete month by month."""
        if self.may_go:
            self._finish()
        with self.engine.connect() as connection:
            due = periods(connection, cutoff)
            counts = {period.month: count_rows(connection, period) for period in due}
        for period in due:
            if self.may_go:
                self._let_go(period)
            elif self.upkeep.folder is None and not self.upkeep.drop_unarchived:
                self.report.due += counts[period.month]
            else:
                self.report.archives.append(Archive(period.month, 1, None, counts[period.month], None))

    def _finish(self) -> None:
        with self.engine.connect() as connection:
            begun = [each for each in read_archives(connection) if not each.is_complete and each.file is not None]
        for archive in begun if self.upkeep.folder is not None else ():
            self._delete_archived(archive)

    def _let_go(self, period: Period) -> None:
        self.unrecorded.clear()
        _, archive = self.archive(period)
        if archive.file is not None and not archive.rows:
            self.take_back()
            return
        try:
            run_in_transaction(self.sessions, lambda session: self._begin(session, period, archive))
        except LockNotAcquired:
            self.take_back()
            raise
        self.report.archives.append(archive)
        if archive.file is None:
            self._delete_all(period)
        else:
            self._delete_archived(replace(archive, is_complete=False))
        with self.engine.connect() as connection:
            self.report.left += count_rows(connection, period)

    def _begin(self, session: Session, period: Period, archive: Archive) -> None:
        connection = session.connection()
        lock_file(connection)
        if next_part(read_archives(connection), archive.month) != self.next_parts[archive.month]:
            raise at_work()  # with another folder, whose lock is not ours
        rows = archive.rows if archive.file is not None else count_rows(connection, period)
        archive = replace(archive, rows=rows, is_complete=archive.file is None)
        raise_floor(connection, period.upper)
        add_archives(connection, archive)
        self.record(session, archive)

    def _delete_archived(self, archive: Archive) -> None:
        """Delete the rows that stand in an archive as they are; others stay."""
        path = (self.upkeep.folder or Path()) / str(archive.file)
        if verify_archive(path).sha256 != archive.sha256:
            raise ArchiveDamaged(
                f"The archive {str(path)!a} is not the one that was recorded.",
                remedy="Take it from a copy, with its manifest; no more of its rows are deleted until then.",
                details={"file": str(path)},
            )
        self.progress(f"deleting what {archive.file} holds")
        lines = read_lines(path)
        while batch := list(islice(lines, self.upkeep.batch_size)):
            self._remove(partial(_delete, batch=batch))
        run_in_transaction(self.sessions, lambda session: complete_archive(session.connection(), archive))

    def _delete_all(self, period: Period) -> None:
        condition = "performed_at < ?" if period.lower is None else "performed_at < ? AND performed_at >= ?"
        ends = (period.upper, *(() if period.lower is None else (period.lower,)))
        values = tuple(each.date().isoformat() for each in ends)
        statement = (
            f"DELETE FROM {TABLE} WHERE _rowid_ IN "
            f"(SELECT _rowid_ FROM {TABLE} WHERE {condition}{IS_TEXT} LIMIT {self.upkeep.batch_size})"
        )

        def delete(session: Session) -> int:
            connection = session.connection()
            lock_file(connection)
            with history_pass(connection, Purpose.MAINTAIN):
                return connection.exec_driver_sql(statement, values).rowcount

        self.progress(f"deleting {period.month}")
        while self._remove(delete):
            pass

    def _remove(self, delete: Callable[[Session], int]) -> int:
        """Delete a batch, and leave the file to others for as long: who waits for it looks only now and then."""
        began = monotonic()
        deleted = run_in_transaction(self.sessions, delete)
        self.report.removed += deleted
        sleep(min(monotonic() - began, _LONGEST_PAUSE))
        return deleted


def _delete(session: Session, batch: Sequence[str]) -> int:
    connection = session.connection()
    lock_file(connection)
    known = set(batch)
    found = [rowid for rowid, line in _stored(connection, batch) if line in known]
    if found:
        marks = ", ".join("?" * len(found))
        with history_pass(connection, Purpose.MAINTAIN):
            connection.exec_driver_sql(f"DELETE FROM {TABLE} WHERE _rowid_ IN ({marks})", tuple(found))
    return len(found)


def _stored(connection: Connection, batch: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield the rows that have the ids of some lines, as lines."""
    names = [column.name for column in stored_columns(connection)]
    listed = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    marks, ids = zip(*(form for line in batch for form in _ids(values_of(line)["id"])), strict=True)
    query = f"SELECT _rowid_, {listed} FROM {TABLE} WHERE id IN ({', '.join(marks)})"
    with undecoded(connection):
        found = connection.exec_driver_sql(query, ids).all()
    for row in found:
        yield row[0], line_of_stored(names, row[1:])


def _ids(written: str | bytes) -> list[tuple[str, Any]]:
    """Return how an id of a line may be stored, as marks and values: others may write it otherwise than we do."""
    if isinstance(written, bytes):
        return [("?", written), ("CAST(? AS TEXT)", written)]  # a text that is not UTF-8
    stored = stored_value("id", written)
    return [("?", form) for form in (forms_of_id(UUID(stored)) if stored != written else (stored,))]
