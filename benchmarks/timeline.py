"""What an engine was asked, and when: to know which statement ran while a client had to wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Engine


class Timeline:
    """The statements of an engine as [start, end, text]; ``watcher`` sees each before it runs."""

    def __init__(self) -> None:
        self.statements: list[list[Any]] = []
        self.watcher: Callable[[str], None] = lambda _statement: None
        self._open: dict[int, list[Any]] = {}

    def clear(self) -> None:
        """Forget everything."""
        self.statements.clear()
        self._open.clear()

    def at(self, moment: float, seconds: float) -> str:
        """Return the statement with the largest share of a span of time, or ``-`` if none ran in it."""
        best, text = 0.0, "-"
        for start, end, statement in self.statements:
            share = min(end, moment + seconds) - max(start, moment)
            if share > best:
                best, text = share, statement
        return text

    def slowest(self, how_many: int) -> list[tuple[float, str]]:
        """Return the longest statements with their milliseconds, longest first."""
        timed = [(1000 * (end - start), text) for start, end, text in self.statements]
        return sorted(timed, reverse=True)[:how_many]

    def _before(self, _connection: Any, cursor: Any, statement: str, *_rest: Any) -> None:
        self.watcher(statement)
        entry = [time.perf_counter(), float("inf"), " ".join(statement.split())]
        self._open[id(cursor)] = entry
        self.statements.append(entry)

    def _after(self, _connection: Any, cursor: Any, *_rest: Any) -> None:
        self._close(cursor)

    def _failed(self, context: Any) -> None:
        if context.execution_context is not None:
            self._close(context.execution_context.cursor)

    def _close(self, cursor: Any) -> None:
        entry = self._open.pop(id(cursor), None)
        if entry is not None:
            entry[1] = time.perf_counter()


@contextmanager
def watched(engine: Engine) -> Iterator[Timeline]:
    """Record the statements of ``engine`` during the block."""
    timeline = Timeline()
    hooks: dict[str, Callable[..., Any]] = {
        "before_cursor_execute": timeline._before,
        "after_cursor_execute": timeline._after,
        "handle_error": timeline._failed,
    }
    for name, hook in hooks.items():
        sa.event.listen(engine, name, hook)
    try:
        yield timeline
    finally:
        for name, hook in hooks.items():
            sa.event.remove(engine, name, hook)
