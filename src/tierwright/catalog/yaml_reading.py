"""YAML files, read event by event: never recursive, no tags, no duplicate keys, and aliases that cannot explode.

libyaml makes the events; composing its nodes, as ``yaml.load`` does, takes three times as long and recurses in C.
"""

from __future__ import annotations

from typing import Any

from tierwright.catalog.positions import (
    EMPTY,
    MAX_DEPTH,
    MAX_WEIGHT,
    TOO_DEEP,
    TOO_LARGE,
    Flaw,
    Parsed,
    Place,
    Spot,
)
from tierwright.catalog.yaml_levels import MERGE, MERGE_KEY, NO_KEY, Level, Stop, path_of, place_of, syntax_problem
from tierwright.catalog.yaml_scalars import Unclear, meaning_of
from tierwright.errors import DependencyMissing

_TAGS = {"!", "tag:yaml.org,2002:str", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"}
_KINDS: dict[type, str] = {bool: "a boolean", int: "a number", type(None): "nothing"}


def read_yaml(text: str, *, places: bool = False) -> Parsed:
    """Return what a YAML text says.

    Args:
        text: the text of one document.
        places: whether to remember where everything is, which takes longer.

    Raises:
        DependencyMissing: the package PyYAML is not installed.
    """
    return _Reader(places).read(text)


class _Reader:
    def __init__(self, places: bool) -> None:
        try:
            import yaml
        except ImportError as error:
            raise DependencyMissing(
                "YAML cannot be read, because the package PyYAML is not installed.",
                remedy="Install tierwright[catalog], or write JSON or TOML.",
            ) from error
        self._yaml = yaml
        self._places = places
        self._parsed = Parsed()
        self._levels: list[Level] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}  # value, weight, height
        self._meanings: dict[str, Any] = {}
        self._weight = 0
        self._done = False

    def read(self, text: str) -> Parsed:
        yaml = self._yaml
        try:
            # The pure reader, where PyYAML was built without libyaml, is slow but the same.
            loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)(text)
        except yaml.YAMLError as error:  # the pure reader looks at all characters at once
            return self._ended(*syntax_problem(error, text))
        try:
            self._read(loader)
        except Stop as stop:
            return self._ended(stop.problem, place_of(stop.mark))
        except yaml.YAMLError as error:
            return self._ended(*syntax_problem(error, text))
        finally:
            loader.dispose()
        return self._parsed

    def _ended(self, problem: str, place: Place | None) -> Parsed:
        self._parsed.flaws.append(Flaw(path_of(self._levels), problem, place, final=True))
        return self._parsed

    def _read(self, loader: Any) -> None:
        yaml = self._yaml
        take = loader.get_event
        scalar, alias, stop = yaml.ScalarEvent, yaml.AliasEvent, yaml.StreamEndEvent
        starts = {yaml.MappingStartEvent: dict, yaml.SequenceStartEvent: list}
        ends = (yaml.MappingEndEvent, yaml.SequenceEndEvent)
        while True:
            event = take()
            kind = type(event)
            if kind is scalar:
                self._scalar(event)
            elif kind in starts:
                self._start(event, starts[kind]())
            elif kind in ends:
                self._end(event)
            elif kind is alias:
                self._alias(event)
            elif kind is yaml.DocumentStartEvent and self._done:
                raise Stop("a second document begins: a file holds one", event.start_mark)
            elif kind is stop:
                break
        if not self._done:
            raise Stop(EMPTY, event.start_mark)

    def _scalar(self, event: Any) -> None:
        text = event.value
        self._weight += 1 + (len(text) >> 4)
        if self._weight > MAX_WEIGHT:
            raise Stop(TOO_LARGE, event.start_mark)
        tag = event.tag
        if tag is not None:
            self._check_tag(event)
        value: Any = text
        plain = tag is None and event.implicit[0]
        if plain:
            # Most scalars come again and again.
            value = self._meanings.get(text, NO_KEY)
            if value is NO_KEY:
                value = self._meanings[text] = meaning_of(text)
        level = self._levels[-1] if self._levels else None
        if level is not None and level.key is NO_KEY and type(level.container) is dict:
            self._key(level, event, value, plain)
            return
        if type(value) is Unclear:
            self._flaw(value.problem, event.start_mark)
            value = None
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, 1 + (len(text) >> 4), 0)
        self._put(value, event.start_mark, 0)

    def _key(self, level: Level, event: Any, value: Any, plain: bool) -> None:
        text = event.value
        if event.anchor is not None:
            self._anchors[event.anchor] = (text, 1 + (len(text) >> 4), 0)
        level.key = text
        if self._places:
            level.key_place = place_of(event.start_mark)
        if type(value) is not str:
            kind = _KINDS.get(type(value), "a number or a date")
            self._flaw(f"a key is text, and {text or 'an empty one'} may be read as {kind}: quote it", event.start_mark)
        if text == MERGE and plain:
            level.merges = level.merges or []
            level.key = MERGE_KEY
        elif text in level.container:
            spot = self._parsed.spots.get((id(level.container), text))
            first = f" (first in line {spot.key.line})" if spot else ""
            self._flaw(f"the key is there twice{first}", event.start_mark)

    def _start(self, event: Any, container: Any) -> None:
        if len(self._levels) >= MAX_DEPTH:
            raise Stop(TOO_DEEP, event.start_mark)
        if event.tag is not None:
            self._check_tag(event)
        self._refuse_as_key(event)
        place = place_of(event.start_mark) if self._places else None
        self._levels.append(Level(container, event.anchor, self._weight, place))
        self._weight += 1
        if event.anchor is not None:
            self._anchors.pop(event.anchor, None)

    def _end(self, event: Any) -> None:
        level = self._levels.pop()
        container = level.container
        if level.merges is not None:
            container = self._merged(level)
        if level.anchor is not None:
            self._anchors[level.anchor] = (container, self._weight - level.before, level.height + 1)
        self._put(container, event.start_mark, level.height + 1, level.place)

    def _alias(self, event: Any) -> None:
        self._refuse_as_key(event)
        if event.anchor not in self._anchors:
            own = any(level.anchor == event.anchor for level in self._levels)
            problem = "it refers to itself" if own else "there is no anchor of this name before it"
            raise Stop(f"the alias *{event.anchor[:80]}: {problem}", event.start_mark)
        value, weight, height = self._anchors[event.anchor]
        self._weight += weight
        if self._weight > MAX_WEIGHT:
            raise Stop(TOO_LARGE, event.start_mark)
        if len(self._levels) + height > MAX_DEPTH:
            raise Stop(TOO_DEEP, event.start_mark)
        self._put(value, event.start_mark, height)

    def _put(self, value: Any, mark: Any, height: int, place: Place | None = None) -> None:
        """Put a finished value where it belongs."""
        if not self._levels:
            self._parsed.value, self._done = value, True
            self._parsed.root = (place or place_of(mark)) if self._places else None
            return
        level = self._levels[-1]
        level.height = max(level.height, height)
        container = level.container
        if type(container) is list:
            if self._places:
                at = place or place_of(mark)
                self._parsed.spots[id(container), len(container)] = Spot(at, at)
            container.append(value)
            return
        key, level.key = level.key, NO_KEY
        if key is MERGE_KEY:
            self._merge(level, value, mark)
            return
        if self._places and level.key_place is not None:
            self._parsed.spots[id(container), key] = Spot(level.key_place, place or place_of(mark))
        container[key] = value

    def _merge(self, level: Level, value: Any, mark: Any) -> None:
        given = value if isinstance(value, list) else [value]
        if not all(isinstance(each, dict) for each in given):
            raise Stop("<< merges mappings: write an alias of one, a list of aliases, or quote it", mark)
        if level.merges:
            self._flaw("<< is there twice: write one list of aliases", mark)
        assert level.merges is not None  # noqa: S101  made when the key was read
        level.merges.extend(given)

    def _merged(self, level: Level) -> dict[str, Any]:
        """Return a mapping with what is merged into it: its own keys win, then the mapping that is named first."""
        merged: dict[str, Any] = {}
        spots = self._parsed.spots
        for source in (*reversed(level.merges or ()), level.container):
            merged.update(source)
            if self._places:
                for key in source:
                    if spot := spots.get((id(source), key)):
                        spots[id(merged), key] = spot
        self._parsed.kept.append(level.container)
        return merged

    def _refuse_as_key(self, event: Any) -> None:
        level = self._levels[-1] if self._levels else None
        if level is not None and type(level.container) is dict and level.key is NO_KEY:
            raise Stop("a key is text, not a list, a mapping or an alias", event.start_mark)

    def _check_tag(self, event: Any) -> None:
        if event.tag not in _TAGS or (event.tag.endswith(":str") and type(event) is not self._yaml.ScalarEvent):
            raise Stop(f"the tag {event.tag[:80]} is not allowed: leave it out", event.start_mark)

    def _flaw(self, problem: str, mark: Any) -> None:
        self._parsed.flaws.append(Flaw(path_of(self._levels), problem, place_of(mark)))
