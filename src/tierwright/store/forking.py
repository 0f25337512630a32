"""Hearing of a fork in the child."""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class Forked(Protocol):
    """What must start anew in a child process."""

    def after_fork(self) -> None:
        """Called in the child, before anything else runs there."""


def call_after_fork(started: Forked) -> None:
    """Have ``after_fork`` called in every child process, for as long as somebody holds the object."""
    reference = weakref.ref(started)

    def after_fork() -> None:
        alive = reference()
        if alive is not None:
            alive.after_fork()

    os.register_at_fork(after_in_child=after_fork)
