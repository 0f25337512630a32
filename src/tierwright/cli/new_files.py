"""Files that a command makes: new ones, whole, or not there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from tierwright.errors import InvalidInput


@contextmanager
def new_file(path: Path) -> Iterator[TextIO]:
    """Open a new file for text; it is gone again if what writes it does not come to its end.

    Raises:
        InvalidInput: it is there already, or cannot be made.
    """
    try:
        file = path.open("x", encoding="utf-8", newline="")
    except OSError as error:
        why = error.strerror
    else:
        try:
            with file:
                yield file
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return
    raise InvalidInput(
        f"The file {str(path)!a} cannot be made: {why}.", remedy="Name a new file in a folder that is there."
    )
