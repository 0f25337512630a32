"""What the upkeep of the history is on every database: what is to be done, what was done, and one run of it.

Nothing is remembered but what is done: a run that was killed is begun again. Rows leave the database in the transaction
that records their archive, or later, and only those that stand in it as they are.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, sessionmaker

from tierwright.audit.archive_files import UNABLE, unwritable, write_archive
from tierwright.audit.archive_manifest import MANIFEST, Manifest
from tierwright.audit.archives import Archive, next_part, read_archives
from tierwright.audit.entries import HISTORY
from tierwright.audit.floor import read_floor
from tierwright.audit.months import months_after
from tierwright.audit.stored_rows import Period, lines, stored_columns
from tierwright.errors import LockNotAcquired
from tierwright.services.audit import AuditContext, write_audit
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.types import AuditAction, AuditEntity, utc_now

ACTOR = "tierwright audit maintain"


@dataclass(frozen=True)
class Upkeep:
    """What is to be done about the history.

    Attributes:
        ahead: PostgreSQL: for so many months after the current one there are to be partitions.
        keep_months: so many months before the current one stay; None keeps everything.
        folder: where archives go.
        drop_unarchived: let rows go without an archive, for ever.
        dry_run: say what would be done.
        most_moved: PostgreSQL: more rows than that without a month are left where they are, because moving them
            keeps writers waiting.
        batch_size: SQLite: rows that are deleted in a transaction.
        lock_timeout: PostgreSQL: seconds that one statement may wait for its lock, and stall others behind it.
        lock_wait: PostgreSQL: seconds to go on trying.
        actor: who it is, for the history.
    """

    ahead: int = 3
    keep_months: int | None = None
    folder: Path | None = None
    drop_unarchived: bool = False
    dry_run: bool = False
    most_moved: int = 100_000
    batch_size: int = 1000
    lock_timeout: float = 0.05
    lock_wait: float = 600.0
    actor: str = ACTOR

    def cutoff(self, now: datetime) -> datetime | None:
        """Return the moment before which the history may go; None keeps it."""
        return None if self.keep_months is None else months_after(now, -self.keep_months)


@dataclass
class UpkeepReport:
    """What was done about the history, or would be.

    Attributes:
        partitions: that were made.
        moved: rows that got a month of theirs.
        unmoved: rows that have none, and were left where they are.
        archives: that were written; in a dry run, the months that would be.
        dropped: partitions that were dropped.
        removed: rows that left the database.
        left: rows that are old enough and are there all the same: they came, or were changed, after the archive was
            written; the next run takes them.
        due: rows that are old enough, where neither a folder nor leave to drop them was given.
        floor: the moment before which the history has left the database.
        freed: SQLite: rows that kept every further one out, and were given another number.
    """

    partitions: list[str] = field(default_factory=list)
    moved: int = 0
    unmoved: int = 0
    archives: list[Archive] = field(default_factory=list)
    dropped: list[str] = field(default_factory=list)
    removed: int = 0
    left: int = 0
    due: int = 0
    floor: datetime | None = None
    freed: int = 0

    @property
    def ok(self) -> bool:
        """Whether nothing is left to do."""
        return not (self.unmoved or self.left or self.due)


Progress = Callable[[str], None]


class Work(ABC):
    """One run of the upkeep; what the databases do differently stands in two classes of their own.

    Args:
        engine: whose connections are in the right schema, with row-level security that hides nothing from them.
        upkeep: what is to be done.
        progress: called with a line for each step.
    """

    def __init__(self, engine: Engine, upkeep: Upkeep, progress: Progress) -> None:
        self.engine = engine
        self.upkeep = upkeep
        self.progress = progress
        self.sessions = sessionmaker(engine)
        self.report = UpkeepReport()
        self.now = utc_now()
        #: By month: the part that was the next one when it was archived.
        self.next_parts: dict[str, int] = {}
        #: Archives that this run has made, and the database does not know yet.
        self.unrecorded: list[Path] = []

    def run(self) -> UpkeepReport:
        """Do it."""
        with self.engine.connect() as connection:
            require_all_tenants(connection)
        with self.alone():
            if self.upkeep.folder is not None and not self.upkeep.dry_run:
                remove_leftovers(self.upkeep.folder)
            self.prepare()
            cutoff = self.upkeep.cutoff(self.now)
            if cutoff is not None:
                self.let_go(cutoff)
        with self.engine.connect() as connection:
            self.report.floor = read_floor(connection)
        return self.report

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Keep other runs out."""
        with _folder_lock(self.upkeep.folder if not self.upkeep.dry_run else None):
            yield

    @abstractmethod
    def prepare(self) -> None:
        """Make room for rows to come."""

    @abstractmethod
    def let_go(self, cutoff: datetime) -> None:
        """Archive what is from before a moment, and let it leave the database."""

    @property
    def may_go(self) -> bool:
        """Whether rows may leave the database in this run."""
        return (self.upkeep.folder is not None or self.upkeep.drop_unarchived) and not self.upkeep.dry_run

    def archive(self, period: Period) -> tuple[Manifest | None, Archive]:
        """Write the archive of a month's rows and read it back; return what to record of it."""
        with self.engine.connect() as connection:
            part = self.next_parts[period.month] = next_part(read_archives(connection), period.month)
            if self.upkeep.folder is None:
                return None, Archive(period.month, part, None, 0, None)
            self.progress(f"archiving {period.month}")
            columns = stored_columns(connection)
            names = tuple(column.name for column in columns)
            there = {path.name for path in self.upkeep.folder.iterdir()}
            manifest = write_archive(
                self.upkeep.folder,
                period.month,
                part,
                names,
                connection.dialect.name,
                lines(connection, columns, period),
            )
        if manifest.file not in there:
            self.unrecorded.append(self.upkeep.folder / manifest.file)
        return manifest, Archive(period.month, manifest.part, manifest.file, manifest.rows, manifest.sha256)

    def take_back(self) -> None:
        """Remove the archives that nothing recorded: their rows stay, and will stand in another one."""
        for path in self.unrecorded:
            Path(f"{path}{MANIFEST}").unlink(missing_ok=True)
            path.unlink(missing_ok=True)

    def record(self, session: Session, archive: Archive) -> None:
        """Leave an entry in the history about what leaves it."""
        new = {"month": archive.month, "part": archive.part, "rows": archive.rows, "file": archive.file}
        action = AuditAction.ARCHIVED if archive.file is not None else AuditAction.PURGED
        self.write(session, action, {**new, "sha256": archive.sha256})

    def write(
        self, session: Session, action: AuditAction, new: dict[str, Any], old: dict[str, Any] | None = None
    ) -> None:
        """Leave an entry in the history about itself."""
        context = AuditContext(self.upkeep.actor)
        write_audit(session, context, AuditEntity.CATALOG, HISTORY.name, action, old=old, new=new)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed runs have begun to write."""
    for path in folder.glob(".feature_audit_log_*.tmp"):
        path.unlink(missing_ok=True)


def at_work() -> LockNotAcquired:
    """Return the error for a second run."""
    return LockNotAcquired(
        "Another `tierwright audit maintain` is at work.", remedy="Wait for its end, or end it; nothing was changed."
    )


@contextmanager
def _folder_lock(folder: Path | None) -> Iterator[None]:
    """Hold a lock on the folder that ends with the process; Windows has none, and databases have their own."""
    try:
        import fcntl
    except ImportError:  # pragma: no cover
        yield
        return
    if folder is None:
        yield
        return
    with unwritable(folder):
        file = (folder / ".tierwright-audit.lock").open("a")
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise at_work() from None
        except OSError as error:  # a file system without locks; databases have their own
            if error.errno not in UNABLE:
                raise
        yield


def patiently(upkeep: Upkeep, attempt: Callable[[], bool], refused: Callable[[], Exception]) -> None:
    """Try again until an attempt says that it is done, with longer and longer pauses."""
    give_up, pause = time.monotonic() + upkeep.lock_wait, 0.1
    while not attempt():
        if time.monotonic() + pause > give_up:
            raise refused()
        time.sleep(pause)
        pause = min(pause * 2, 2.0)
