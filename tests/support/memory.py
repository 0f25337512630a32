"""Where temporary files of the tests go: into memory, if the machine has room there.

PostgreSQL writes three hundred files for a new database. On a disk's file system that takes 150 to 280 ms of the
processor, in memory a tenth; and the suite makes a thousand databases.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

MEMORY = Path("/dev/shm")
#: Three workers with two servers each take a third of it.
ROOM = 4 * 2**30


def keep_temporary_files_in_memory() -> None:
    """Say so for this process and those that it starts; what ``TMPDIR`` names is respected."""
    if "TMPDIR" not in os.environ and _has_room(MEMORY):
        os.environ["TMPDIR"] = str(MEMORY)
        tempfile.tempdir = None  # it is asked again


def _has_room(folder: Path) -> bool:
    """Return whether programs and data fit; a container's 64 MB, from which no program may run, do not."""
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        return False
    no_programs = bool(os.statvfs(folder).f_flag & os.ST_NOEXEC)
    return not no_programs and shutil.disk_usage(folder).free > ROOM
