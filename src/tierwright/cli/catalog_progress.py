"""How far long work is, on a terminal; silent where nobody looks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from tierwright.cli import output


class Shown:
    """One line on standard error: a bar while entries are counted, else what is being done and for how long."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar: Progress | None = None
        self._task: TaskID | None = None

    def entries(self, done: int, total: int) -> None:
        """Show how many entries of a list are done."""
        if not self._console.is_terminal:
            return
        if self._bar is None or self._task is None:
            self._start("reading", total)
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)
        if done == total:
            self.step("")

    def step(self, text: str) -> None:
        """Show what is being done from now on; nothing for an empty text."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = self._task = None
        if text and self._console.is_terminal:
            self._start(text, None)

    def _start(self, text: str, total: int | None) -> None:
        counted = [] if total is None else [MofNCompleteColumn()]
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            *counted,
            TimeElapsedColumn(),
            console=self._console,
            transient=True,
        )
        self._task = self._bar.add_task(text, total=total)
        self._bar.start()


@contextmanager
def progress() -> Iterator[Shown]:
    """Yield what shows the progress; it is gone from the terminal afterwards."""
    shown = Shown(output.console(stderr=True))
    try:
        yield shown
    finally:
        shown.step("")
