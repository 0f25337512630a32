"""Errors that carry nothing of what was being worked on.

A traceback holds its frames, and a frame its variables; error trackers send both to somebody else. So work on plaintext
is done in frames that no traceback keeps: what it raises is caught, loses its traceback and what led to it, and is
raised anew from a frame that holds nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from tierwright.errors import ConfigInvalid, TierwrightError

T = TypeVar("T")


def shielded(work: Callable[[], T]) -> T:
    """Return what ``work`` returns; its errors come without its frames, and without the errors behind them.

    Args:
        work: a function without arguments whose closure hides what is secret.

    Raises:
        TierwrightError: as ``work`` raised it.
        ConfigInvalid: in place of any other exception, of which only the class is told.
    """
    try:
        return work()
    except TierwrightError as error:
        found: BaseException = error
    except Exception as error:  # of the validator, or of a mapping of the host's; its text may repeat the value
        found = ConfigInvalid(
            f"The settings cannot be processed ({type(error).__name__}).", remedy="Correct the document."
        )
    except BaseException as error:  # the process is being interrupted
        found = error
    found.__cause__ = found.__context__ = None
    raise found.with_traceback(None)
