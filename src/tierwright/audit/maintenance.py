"""Looking after a history that grows: partitions ahead, old months into archives, and only then out of the database."""

from __future__ import annotations

from typing import Any

from sqlalchemy.engine import Engine

from tierwright.audit.maintenance_postgresql import PostgresqlWork
from tierwright.audit.maintenance_sqlite import SqliteWork
from tierwright.audit.upkeep import Progress, Upkeep, UpkeepReport
from tierwright.errors import InvalidInput


def maintain(engine: Engine, upkeep: Upkeep, progress: Progress | None = None) -> UpkeepReport:
    """Make partitions ahead (PostgreSQL), archive what is older than it has to be kept, and let that go.

    Safe to kill and to begin again; of two at once, one is refused. Only what stands in an archive that was read back
    leaves the database, unless ``drop_unarchived`` says so.

    Args:
        engine: of a role that owns the tables and sees every tenant's rows; with the schema, if any, on its
            ``search_path``.
        upkeep: what is to be done.
        progress: called with a line for each step that may take long.

    Raises:
        InvalidInput: a number or the folder is none.
        ArchiveNotWritten, ArchiveDamaged: an archive cannot be made, or is not what it was; its rows stay.
        LockNotAcquired: another run is at work, or others kept the table all the time.
        PrivilegeMissing: row-level security hides rows from the current role.
        RetryTransaction: others held the file for too long; run it again.
    """
    _check(upkeep)
    work = (PostgresqlWork if engine.dialect.name == "postgresql" else SqliteWork)(
        engine, upkeep, progress or (lambda _line: None)
    )
    return work.run()


def _check(upkeep: Upkeep) -> None:
    numbers: dict[str, Any] = {"ahead": upkeep.ahead, "batch_size": upkeep.batch_size, "most_moved": upkeep.most_moved}
    if upkeep.keep_months is not None:
        numbers["keep_months"] = upkeep.keep_months
    for name, number in numbers.items():
        if type(number) is not int or not (0 if name == "most_moved" else 1) <= number <= 10**9:
            raise InvalidInput(f"{name} is {number!r}.", remedy="Give a whole number from 1 on.")
    if not 1 <= upkeep.ahead <= 120 or (upkeep.keep_months or 1) > 1200:
        raise InvalidInput("So many months are too many.", remedy="Look 1 to 120 months ahead, keep 1 to 1200.")
    if upkeep.folder is not None and not upkeep.folder.is_dir():
        raise InvalidInput(f"{str(upkeep.folder)!a} is no folder.", remedy="Make it first; it is to hold the archives.")
    if upkeep.folder is not None and upkeep.drop_unarchived:
        raise InvalidInput("Rows are either archived or dropped without.", remedy="Leave one of the two out.")
