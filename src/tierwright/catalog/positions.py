"""What a reader makes of one file: the value, the places of its parts, and what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

#: What lies on the way from the root to a part: keys, and positions in lists.
Path = tuple[Any, ...]


class Place(NamedTuple):
    """A place in a file, counted from 1."""

    line: int
    column: int


class Spot(NamedTuple):
    """Where a part of a container begins: its key, and its value."""

    key: Place
    value: Place


class Flaw(NamedTuple):
    """Something that is wrong with a document.

    Attributes:
        path: the part that it is about.
        problem: what is wrong and what was expected, in a few words.
        place: where it is, if the reader knows; else it is looked up by the path.
        at_key: whether it is the key that is wrong, not what stands under it.
        final: whether the reader could not go on.
    """

    path: Path
    problem: str
    place: Place | None = None
    at_key: bool = False
    final: bool = False


@dataclass
class Parsed:
    """A file as it was read.

    Attributes:
        value: plain data; containers may be shared where the file has aliases.
        flaws: what the reader itself found.
        spots: by the identity of a container and a key or position in it; empty if places were not asked for.
        root: where the whole begins.
        kept: containers that are no longer part of the value, kept so that their identities stay theirs.
    """

    value: Any = None
    flaws: list[Flaw] = field(default_factory=list)
    spots: dict[tuple[int, Any], Spot] = field(default_factory=dict)
    root: Place | None = None
    kept: list[Any] = field(default_factory=list)

    def place(self, path: Iterable[Any], *, at_key: bool = False) -> Place | None:
        """Return where a part is, or the nearest part around it that has a place."""
        node, found = self.value, self.root
        path = tuple(path)
        for depth, key in enumerate(path):
            spot = self.spots.get((id(node), key))
            if spot is None:
                break
            found = spot.key if at_key and depth == len(path) - 1 else spot.value
            node = node[key]
        return found


#: Deeper than anything that a column could hold, and far from where a recursive reader ends.
MAX_DEPTH = 64
#: Of parts, after aliases are replaced by what they stand for; sixteen characters of text weigh as much as one part.
MAX_WEIGHT = 2_000_000
#: Of a number; an exact decimal has at most 1,000.
MAX_DIGITS = 1_010

TOO_DEEP = f"it is deeper than {MAX_DEPTH} levels"
TOO_LARGE = f"it has more than {MAX_WEIGHT:,} parts, with its aliases replaced by what they stand for"
TOO_LONG_A_NUMBER = "the number has more than 1,000 digits"
NOT_FINITE = "NaN and infinity are no values"
EMPTY = "it is empty: a catalogue without entries is written {}"
