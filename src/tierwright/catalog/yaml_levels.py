"""What is open while a YAML file is read, and what it says where it ends too soon."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tierwright.catalog.positions import Path, Place

#: No key yet.
NO_KEY = object()
MERGE = "<<"


class Stop(Exception):
    """The file cannot be read on."""

    def __init__(self, problem: str, mark: Any) -> None:
        super().__init__(problem)
        self.problem = problem
        self.mark = mark


class Level:
    """A container that is open."""

    __slots__ = ("anchor", "before", "container", "height", "key", "key_place", "merges", "place")

    def __init__(self, container: Any, anchor: str | None, before: int, place: Place | None) -> None:
        self.container = container
        self.anchor = anchor
        self.before = before  # the weight of all that came earlier
        self.place = place
        self.height = 0
        self.key: Any = NO_KEY
        self.key_place: Place | None = None
        self.merges: list[dict[str, Any]] | None = None


class _MergeKey(str):
    """The key << that stands for a merge, which is not the text "<<"."""

    __slots__ = ()


MERGE_KEY = _MergeKey(MERGE)


def place_of(mark: Any) -> Place:
    """Return the place that a mark of PyYAML is at."""
    return Place(mark.line + 1, mark.column + 1)


def syntax_problem(error: Any, text: str) -> tuple[str, Place | None]:
    """Return what PyYAML says of a text that is not YAML."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "it is not YAML"
    position = getattr(error, "position", None)
    if mark is None and isinstance(position, int):  # a character that YAML does not allow
        before = text.encode("utf-8", "surrogatepass")[:position].decode("utf-8", "ignore")
        return f"not YAML: {problem}", Place(before.count("\n") + 1, len(before) - before.rfind("\n"))
    return f"not YAML: {problem}", None if mark is None else place_of(mark)


def path_of(levels: Iterable[Level]) -> Path:
    """Return the way to what is being read."""
    path: list[Any] = []
    for level in levels:
        if type(level.container) is list:
            path.append(len(level.container))
        elif level.key is not NO_KEY:
            path.append(MERGE if level.key is MERGE_KEY else level.key)
    return tuple(path)
