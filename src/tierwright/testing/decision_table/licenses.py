"""Cases of licences and tiers: several at once, bases, closed and default tiers, circles."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tierwright.resolution.decision import Reason, Source
from tierwright.testing.decision_table.case import Case, Expected, denied, granted

DAY = timedelta(days=1)
NOT_GRANTED = Reason.NOT_GRANTED
DEFAULT_OFF = denied(NOT_GRANTED, Source.REGISTRY_DEFAULT)


def _case(
    name: str, tiers: dict[str, Any], licenses: list[Any], expected: dict[str, Expected], **features: Any
) -> Case:
    """Return a case of the tenant acme, over features that are off by default and named in ``expected``."""
    return Case(
        name,
        {
            "features": {key: features.get(key.partition(".")[2], False) for key in expected},
            "tiers": tiers,
            "tenants": {"acme": {"licenses": licenses}},
        },
        {"acme": expected},
    )


def _limit(value: int) -> dict[str, Any]:
    return {"enabled": True, "value": value}


_INTEGER = {"feature_type": "integer", "default_value": False}

LICENSES: tuple[Case, ...] = (
    _case(
        "the-higher-rank-speaks-first",
        {
            "basic": {"rank": 1, "features": {"f.both": True, "f.low": True, "f.n": _limit(1)}},
            "pro": {"rank": 2, "features": {"f.both": False, "f.n": _limit(2)}},
        },
        ["basic", "pro"],
        {
            "f.both": denied(NOT_GRANTED, Source.TIER, "pro"),
            "f.low": granted(Source.TIER, "basic"),
            "f.n": granted(Source.TIER, "pro", 2),
        },
        n=_INTEGER,
    ),
    _case(
        "among-equal-ranks-the-key-decides",
        {"b-tier": {"features": {"f.n": _limit(2)}}, "a-tier": {"features": {"f.n": _limit(1)}}},
        ["b-tier", "a-tier"],
        {"f.n": granted(Source.TIER, "a-tier", 1)},
        n=_INTEGER,
    ),
    _case(
        "negative-ranks",
        {"below": {"rank": -5, "features": {"f.n": _limit(1)}}, "lower": {"rank": -6, "features": {"f.n": _limit(2)}}},
        ["lower", "below"],
        {"f.n": granted(Source.TIER, "below", 1)},
        n=_INTEGER,
    ),
    _case(
        "a-higher-tier's-base-speaks-before-a-lower-tier",
        {
            "base": {"rank": 0, "features": {"f.n": _limit(1)}},
            "high": {"rank": 9, "base": "base"},
            "low": {"rank": 5, "features": {"f.n": _limit(2)}},
        },
        ["low", "high"],
        {"f.n": granted(Source.BASE_TIER, "base", 1)},
        n=_INTEGER,
    ),
    _case(
        "an-add-on-brings-what-the-plan-lacks",
        {
            "plan": {"rank": 10, "features": {"f.plan": True}},
            "add-on": {"rank": 0, "features": {"f.plan": False, "f.extra": True}},
        },
        ["plan", "add-on"],
        {"f.plan": granted(Source.TIER, "plan"), "f.extra": granted(Source.TIER, "add-on")},
    ),
    _case(
        "a-value-may-come-from-another-licence",
        {"plan": {"rank": 10, "features": {"f.n": {"enabled": True}}}, "add-on": {"features": {"f.n": _limit(30)}}},
        ["plan", "add-on"],
        {"f.n": granted(Source.TIER, "plan", 30)},
        n=_INTEGER,
    ),
    _case(
        "the-same-tier-twice-ends-with-the-later",
        {"pro": {"features": {"f.a": True}}},
        [{"tier": "pro", "expires_at": DAY}, {"tier": "pro", "expires_at": 3 * DAY}],
        {"f.a": granted(Source.TIER, "pro", expires=3 * DAY)},
    ),
    _case(
        "the-same-tier-with-and-without-an-end-has-none",
        {"pro": {"features": {"f.a": True}}},
        [{"tier": "pro", "expires_at": DAY}, "pro"],
        {"f.a": granted(Source.TIER, "pro")},
    ),
    _case(
        "a-shared-base-ends-with-the-stronger-licence",
        {"base": {"features": {"f.a": True}}, "x": {"rank": 2, "base": "base"}, "y": {"rank": 1, "base": "base"}},
        [{"tier": "y"}, {"tier": "x", "expires_at": DAY}],
        {"f.a": granted(Source.BASE_TIER, "base", expires=DAY)},
    ),
    _case(
        "the-nearest-base-speaks-first",
        {
            "one": {"features": {"f.far": True, "f.near": _limit(1)}},
            "two": {"base": "one", "features": {"f.near": _limit(2)}},
            "three": {"base": "two", "features": {"f.own": True}},
        },
        ["three"],
        {
            "f.own": granted(Source.TIER, "three"),
            "f.near": granted(Source.BASE_TIER, "two", 2),
            "f.far": granted(Source.BASE_TIER, "one"),
        },
        near=_INTEGER,
    ),
    _case(
        "a-tier-may-deny-what-its-base-grants",
        {"one": {"features": {"f.a": True}}, "two": {"base": "one", "features": {"f.a": False}}},
        ["two"],
        {"f.a": denied(NOT_GRANTED, Source.TIER, "two")},
    ),
    _case(
        "a-tier-without-a-value-takes-its-base's",
        {"one": {"features": {"f.n": _limit(5)}}, "two": {"base": "one", "features": {"f.n": {"enabled": True}}}},
        ["two"],
        {"f.n": granted(Source.TIER, "two", 5)},
        n=_INTEGER,
    ),
    _case(
        "bases-in-a-circle-contribute-nothing",
        {
            "a": {"base": "b", "features": {"f.a": True}},
            "b": {"base": "c", "features": {"f.b": True}},
            "c": {"base": "a", "features": {"f.c": True}},
        },
        ["a"],
        {"f.a": granted(Source.TIER, "a"), "f.b": DEFAULT_OFF, "f.c": DEFAULT_OFF},
    ),
    _case(
        "a-circle-further-up-contributes-nothing",
        {
            "top": {"base": "b", "features": {"f.a": True}},
            "b": {"base": "c", "features": {"f.b": True}},
            "c": {"base": "b", "features": {"f.c": True}},
        },
        ["top"],
        {"f.a": granted(Source.TIER, "top"), "f.b": DEFAULT_OFF, "f.c": DEFAULT_OFF},
    ),
    _case(
        "a-closed-tier-is-honoured-for-holders-and-heirs",
        {
            "closed": {"is_active": False, "features": {"f.held": True}},
            "heir": {"rank": 1, "base": "closed", "features": {"f.own": True}},
        },
        ["heir"],
        {"f.own": granted(Source.TIER, "heir"), "f.held": granted(Source.BASE_TIER, "closed")},
    ),
    _case(
        "a-closed-tier-is-honoured-for-who-holds-it",
        {"closed": {"is_active": False, "features": {"f.a": True}}},
        ["closed"],
        {"f.a": granted(Source.TIER, "closed")},
    ),
    Case(
        "a-closed-default-tier-gives-nothing",
        {
            "features": {"f.a": False},
            "tiers": {"free": {"is_default": True, "is_active": False, "features": {"f.a": True}}},
        },
        {"acme": {"f.a": DEFAULT_OFF}},
    ),
    Case(
        "the-default-tier-is-for-those-without-a-licence",
        {
            "features": {"f.free": False, "f.base": False, "f.pro": False},
            "tiers": {
                "base": {"features": {"f.base": True}},
                "free": {"is_default": True, "base": "base", "features": {"f.free": True}},
                "pro": {"features": {"f.pro": True}},
            },
            "tenants": {
                "licensed": {"licenses": ["pro"]},
                "suspended": {"licenses": [{"tier": "pro", "is_active": False}]},
                "expired": {"licenses": [{"tier": "pro", "expires_at": -DAY}]},
                "early": {"licenses": [{"tier": "pro", "starts_at": DAY}]},
                "holder": {"licenses": ["free"]},
                "overridden": {"overrides": {"f.pro": True}},
            },
        },
        {
            "licensed": {"f.free": DEFAULT_OFF, "f.base": DEFAULT_OFF, "f.pro": granted(Source.TIER, "pro")},
            "holder": {"f.free": granted(Source.TIER, "free"), "f.base": granted(Source.BASE_TIER, "base")},
            "overridden": {"f.pro": granted(Source.OVERRIDE), "f.free": granted(Source.DEFAULT_TIER, "free")},
            **{
                tenant: {
                    "f.free": granted(Source.DEFAULT_TIER, "free"),
                    "f.base": granted(Source.DEFAULT_TIER, "base"),
                    "f.pro": DEFAULT_OFF,
                }
                for tenant in ("suspended", "expired", "early", "nobody")
            },
        },
    ),
    Case(
        "without-a-default-tier-only-the-registry-speaks",
        {
            "features": {"f.on": True, "f.off": False},
            "tiers": {"pro": {"features": {"f.on": False, "f.off": True}}},
        },
        {"acme": {"f.on": granted(Source.REGISTRY_DEFAULT), "f.off": DEFAULT_OFF}},
    ),
)
