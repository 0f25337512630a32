"""Which features need each other, and which exclude each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Self

from tierwright.resolution.facts import Feature


class Graph:
    """Prerequisites and conflicts between features, as the registry declares them.

    Attributes:
        depends_on: the prerequisites of each feature that has any; they may be keys that do not exist.
        dependents: the inverse.
        conflicts: the partners of each feature that has any, made symmetric.
        groups: for each feature with a prerequisite or a conflict, all that it is linked with, directly or not; what
            happens in one group never changes a decision in another.
    """

    def __init__(self, depends_on: Mapping[str, Iterable[str]], conflicts_with: Mapping[str, Iterable[str]]) -> None:
        self.depends_on = _sets(depends_on)
        self.dependents = _inverse(self.depends_on)
        self.conflicts = _symmetric(_sets(conflicts_with))
        self.groups = _groups(self.depends_on, self.dependents, self.conflicts)

    @classmethod
    def of(cls, features: Iterable[Feature]) -> Self:
        """Return the graph of a registry."""
        features = list(features)
        return cls(
            {feature.key: feature.depends_on for feature in features},
            {feature.key: feature.conflicts_with for feature in features},
        )

    def linked(self, keys: Iterable[str]) -> frozenset[str]:
        """Return everything in the groups of ``keys``."""
        return frozenset().union(*{self.groups[key] for key in keys if key in self.groups})

    def cycle(self) -> tuple[str, ...]:
        """Return the features of one cycle of prerequisites, from the first in byte order round to itself; or ()."""
        return find_cycle({key: sorted(needed) for key, needed in self.depends_on.items()})


def find_cycle(edges: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return the nodes of one cycle, the first again at the end; or () if there is none.

    Args:
        edges: the successors of each node.
    """
    finished: set[str] = set()
    for start in sorted(edges):
        path: dict[str, None] = {}
        stack = [(start, iter(edges.get(start, ())))] if start not in finished else []
        path[start] = None
        while stack:
            node, successors = stack[-1]
            following = next(successors, None)
            if following is None:
                finished.add(node)
                path.pop(node, None)
                stack.pop()
            elif following in path:
                nodes = list(path)
                return (*nodes[nodes.index(following) :], following)
            elif following not in finished:
                path[following] = None
                stack.append((following, iter(edges.get(following, ()))))
    return ()


def _sets(lists: Mapping[str, Iterable[str]]) -> Mapping[str, frozenset[str]]:
    return MappingProxyType({key: frozenset(items) for key, given in lists.items() if (items := tuple(given))})


def _inverse(edges: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for key, others in edges.items():
        for other in others:
            found.setdefault(other, set()).add(key)
    return _sets(found)


def _symmetric(edges: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    inverse = _inverse(edges)
    nothing: frozenset[str] = frozenset()
    return _sets({key: edges.get(key, nothing) | inverse.get(key, nothing) for key in (*edges, *inverse)})


def _groups(*edges: Mapping[str, frozenset[str]]) -> Mapping[str, frozenset[str]]:
    groups: dict[str, frozenset[str]] = {}
    for start in (key for each in edges for key in each):
        if start in groups:
            continue
        seen, waiting = {start}, [start]
        while waiting:
            node = waiting.pop()
            new = {other for each in edges for other in each.get(node, ())} - seen
            seen |= new
            waiting.extend(new)
        group = frozenset(seen)
        groups.update(dict.fromkeys(group, group))
    return MappingProxyType(groups)
