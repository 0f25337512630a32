"""Cases that combine everything with everything: what each source says, and how the passes take it away."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any

from tierwright.resolution.decision import Reason, Source
from tierwright.testing.decision_table.case import Case, Expected, denied, granted

_SOURCES = {"o": Source.OVERRIDE, "t": Source.TIER, "b": Source.BASE_TIER, "d": Source.REGISTRY_DEFAULT}
#: The sources of a tenant with a licence, and where each of them is written; "d" is the registry default.
_TIER_OF = {"t": "top", "b": "base"}


def _document(features: dict[str, Any], said: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return a document in which the tenant "licensed" holds the tier, and "nobody" has the default tier.

    Args:
        features: the registry.
        said: by source and feature key, what the override (of both tenants), the tier and its base say.
    """
    return {
        "features": features,
        "tiers": {
            "base": {"features": said["b"]},
            "top": {"base": "base", "is_default": True, "features": said["t"]},
        },
        "tenants": {"licensed": {"licenses": ["top"], "overrides": said["o"]}, "nobody": {"overrides": said["o"]}},
    }


def _for_both(expected: dict[str, Expected]) -> dict[str, dict[str, Expected]]:
    """Return what holds for the two tenants: without a licence, tiers speak as the default tier."""
    return {"licensed": expected, "nobody": {key: _as_default_tier(each) for key, each in expected.items()}}


def _as_default_tier(expected: Expected) -> Expected:
    if expected.source not in (Source.TIER, Source.BASE_TIER):
        return expected
    return Expected(**{**vars(expected), "source": Source.DEFAULT_TIER})


def _key(*parts: str) -> str:
    return ".".join(("m", *parts))


def _who_speaks_first() -> Case:
    """Each of override, tier and base grants, denies or is silent; the default is on or off; premium or not."""
    features: dict[str, Any] = {}
    said: dict[str, dict[str, Any]] = {"o": {}, "t": {}, "b": {}}
    expected: dict[str, Expected] = {}
    says = ("grant", "deny", "silent")
    for *spoken, default, premium in product(says, says, says, ("on", "off"), ("premium", "plain")):
        key = _key(*spoken, default, premium)
        features[key] = {"default_value": default == "on", "is_premium": premium == "premium"}
        for source, what in zip("otb", spoken, strict=True):
            if what != "silent":
                said[source][key] = what == "grant"
        first = next((place for place, what in enumerate(spoken) if what != "silent"), None)
        if first is None:
            enabled, source = default == "on" and premium == "plain", "d"
        else:
            enabled, source = spoken[first] == "grant", "otb"[first]
        where = (_SOURCES[source], _TIER_OF.get(source))
        expected[key] = granted(*where) if enabled else denied(Reason.NOT_GRANTED, *where)
    return Case("matrix-who-speaks-first", _document(features, said), _for_both(expected))


def _whose_value() -> Case:
    """Each of override, tier and base grants with a value, without one, without limit, or is silent."""
    features: dict[str, Any] = {}
    said: dict[str, dict[str, Any]] = {"o": {}, "t": {}, "b": {}}
    expected: dict[str, Expected] = {}
    says = ("value", "partial", "unlimited", "silent")
    worth = {"o": 40, "t": 30, "b": 20, "d": 10}
    for *spoken, default in product(says, says, says, ("value", "unlimited")):
        key = _key(*spoken, default)
        by_source = dict(zip("otbd", (*spoken, default), strict=True))
        features[key] = {"feature_type": "integer", "default_value": _grant(default, worth["d"])}
        for source in "otb":
            if by_source[source] != "silent":
                said[source][key] = _grant(by_source[source], worth[source])
        first = next(source for source, what in by_source.items() if what != "silent")
        valued = next(source for source, what in by_source.items() if what in ("value", "unlimited"))
        expected[key] = granted(
            _SOURCES[first], _TIER_OF.get(first), worth[valued], unlimited=by_source[valued] == "unlimited"
        )
    return Case("matrix-whose-value", _document(features, said), _for_both(expected))


def _grant(what: str, value: int) -> dict[str, Any]:
    document: dict[str, Any] = {"enabled": True}
    if what == "value":
        document["value"] = value
    elif what == "unlimited":
        document["unlimited"] = True
    return document


def _prerequisites() -> Case:
    """A feature that any source grants needs one that any source grants, or that is denied in any way."""
    features: dict[str, Any] = {"m.rival.one": {"default_value": True, "conflicts_with": ["m.rival.two"]}}
    features["m.rival.two"] = True
    features["m.inactive.x"] = {"default_value": True, "is_active": False}
    features["m.off.x"] = False
    said: dict[str, dict[str, Any]] = {"o": {}, "t": {}, "b": {}}
    expected: dict[str, Expected] = {}
    ways = {"conflict": "m.rival.one", "inactive": "m.inactive.x", "off": "m.off.x", "ghost": "m.ghost.x"}
    for source, way in product("otbd", (*"otbd", *ways)):
        needed = ways.get(way, _key("needed", source, way))
        key = _key("asked", source, way)
        if way not in ways:
            features[needed] = way == "d"
            _say(said, way, needed)
            expected[needed] = granted(_SOURCES[way], _TIER_OF.get(way))
        features[key] = {"default_value": source == "d", "depends_on": [needed]}
        _say(said, source, key)
        where = (_SOURCES[source], _TIER_OF.get(source))
        expected[key] = denied(Reason.PREREQUISITE_NOT_MET, *where, needed) if way in ways else granted(*where)
    return Case("matrix-prerequisites", _document(features, said), _for_both(expected))


def _conflicts() -> Case:
    """Two features, each granted by any source; either or both declare the conflict, and a third needs the first."""
    features: dict[str, Any] = {}
    said: dict[str, dict[str, Any]] = {"o": {}, "t": {}, "b": {}}
    expected: dict[str, Expected] = {}
    for one, other, declared in product("otbd", "otbd", ("one", "other", "both")):
        first, second = _key("one", one, other, declared), _key("other", one, other, declared)
        third = _key("heir", one, other, declared)
        features[first] = {
            "default_value": one == "d",
            "conflicts_with": [second] if declared in ("one", "both") else [],
        }
        features[second] = {
            "default_value": other == "d",
            "conflicts_with": [first] if declared in ("other", "both") else [],
        }
        features[third] = {"default_value": True, "depends_on": [first]}
        for source, key, partner in ((one, first, second), (other, second, first)):
            _say(said, source, key)
            expected[key] = denied(Reason.CONFLICT, _SOURCES[source], _TIER_OF.get(source), partner)
        expected[third] = denied(Reason.PREREQUISITE_NOT_MET, Source.REGISTRY_DEFAULT, None, first)
    return Case("matrix-conflicts", _document(features, said), _for_both(expected))


def _say(said: dict[str, dict[str, Any]], source: str, key: str) -> None:
    if source != "d":
        said[source][key] = True


def _all() -> Iterator[Case]:
    yield _who_speaks_first()
    yield _whose_value()
    yield _prerequisites()
    yield _conflicts()


MATRICES: tuple[Case, ...] = tuple(_all())
