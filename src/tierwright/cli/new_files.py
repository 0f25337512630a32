"""Files that a command makes: new ones, whole, or not there."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from tierwright.errors import InvalidInput


@contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """Open a new file for text, which gets its name when all of it is written.

    A process that is killed leaves a part beside it, a hidden ``.part``, which nobody takes for the whole.

    Raises:
        InvalidInput: it is there already, or cannot be made.
    """
    try:
        if path.exists() or path.is_symlink():
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        part = path.with_name(f".{uuid4().hex}.part")
        file = part.open("x", encoding="utf-8", newline="")
    except OSError as error:
        raise _refused(path, error) from None
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        _name(part, path)
    finally:
        part.unlink(missing_ok=True)


def _name(part: Path, path: Path) -> None:
    """Give the file its name, unless somebody has made one of that name meanwhile."""
    try:
        os.link(part, path)
    except FileExistsError as error:
        raise _refused(path, error) from None
    except OSError:  # a file system without a second name for a file
        part.replace(path)


def _refused(path: Path, error: OSError) -> InvalidInput:
    return InvalidInput(
        f"The file {str(path)!a} cannot be made: {error.strerror}.",
        remedy="Name a new file in a folder that is there.",
    )
