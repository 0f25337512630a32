"""Cases of the later passes: prerequisites, conflicts, and both at once."""

from __future__ import annotations

from typing import Any

from tierwright.resolution.decision import Reason, Source
from tierwright.testing.decision_table.case import Case, Expected, denied, granted

DEFAULT = Source.REGISTRY_DEFAULT
OK = granted(DEFAULT)
OFF = denied(Reason.NOT_GRANTED, DEFAULT)


def needs(*keys: str, **fields: Any) -> dict[str, Any]:
    """Return a feature that is on by default and has prerequisites."""
    return {"default_value": True, "depends_on": list(keys), **fields}


def excludes(*keys: str, **fields: Any) -> dict[str, Any]:
    """Return a feature that is on by default and has conflicts."""
    return {"default_value": True, "conflicts_with": list(keys), **fields}


def unmet(*keys: str) -> Expected:
    """Return the denial for prerequisites that are not met."""
    return denied(Reason.PREREQUISITE_NOT_MET, DEFAULT, None, *keys)


def conflict(*keys: str) -> Expected:
    """Return the denial for conflicts."""
    return denied(Reason.CONFLICT, DEFAULT, None, *keys)


def _case(name: str, features: dict[str, Any], expected: dict[str, Expected], **overrides: Any) -> Case:
    """Return a case of features that are on by default; overrides are named by the last part of the key."""
    tenants = {"acme": {"overrides": {f"f.{key}": value for key, value in overrides.items()}}}
    return Case(name, {"features": features, "tenants": tenants}, {"acme": expected})


RELATIONS: tuple[Case, ...] = (
    _case("prerequisite-is-met", {"f.a": True, "f.b": needs("f.a")}, {"f.a": OK, "f.b": OK}),
    _case("prerequisite-is-off", {"f.a": False, "f.b": needs("f.a")}, {"f.a": OFF, "f.b": unmet("f.a")}),
    _case(
        "prerequisite-is-inactive",
        {"f.a": {"default_value": True, "is_active": False}, "f.b": needs("f.a")},
        {"f.a": denied(Reason.DISABLED), "f.b": unmet("f.a")},
    ),
    _case("prerequisite-does-not-exist", {"f.b": needs("f.ghost")}, {"f.b": unmet("f.ghost")}),
    _case(
        "a-dependent-that-is-off-keeps-its-own-reason",
        {"f.a": False, "f.b": {"default_value": False, "depends_on": ["f.a"]}},
        {"f.b": OFF},
    ),
    _case(
        "all-that-are-missing-are-named-sorted",
        {"f.z": False, "f.a": False, "f.m": True, "f.b": needs("f.z", "f.m", "f.a", "f.ghost")},
        {"f.b": unmet("f.a", "f.ghost", "f.z")},
    ),
    _case(
        "a-chain-breaks-link-by-link",
        {"f.a": False, "f.b": needs("f.a"), "f.c": needs("f.b"), "f.d": needs("f.c"), "f.e": True},
        {"f.b": unmet("f.a"), "f.c": unmet("f.b"), "f.d": unmet("f.c"), "f.e": OK},
    ),
    _case(
        "a-diamond-needs-both-sides",
        {"f.a": True, "f.l": needs("f.a"), "f.r": needs("f.a", "f.off"), "f.off": False, "f.top": needs("f.l", "f.r")},
        {"f.l": OK, "f.r": unmet("f.off"), "f.top": unmet("f.r")},
    ),
    _case(
        "prerequisites-in-a-circle-deny-all",
        {"f.a": needs("f.c"), "f.b": needs("f.a"), "f.c": needs("f.b"), "f.d": needs("f.a")},
        {"f.a": unmet("f.c"), "f.b": unmet("f.a"), "f.c": unmet("f.b"), "f.d": unmet("f.a")},
    ),
    _case(
        "an-override-does-not-lift-a-prerequisite",
        {"f.a": False, "f.b": needs("f.a")},
        {"f.b": denied(Reason.PREREQUISITE_NOT_MET, Source.OVERRIDE, None, "f.a")},
        b=True,
    ),
    _case(
        "an-override-of-the-prerequisite-helps",
        {"f.a": False, "f.b": needs("f.a")},
        {"f.a": granted(Source.OVERRIDE), "f.b": OK},
        a=True,
    ),
    _case(
        "an-override-takes-the-prerequisite-away",
        {"f.a": True, "f.b": needs("f.a")},
        {"f.a": denied(Reason.NOT_GRANTED, Source.OVERRIDE), "f.b": unmet("f.a")},
        a=False,
    ),
    _case(
        "conflict-removes-both",
        {"f.a": excludes("f.b"), "f.b": True},
        {"f.a": conflict("f.b"), "f.b": conflict("f.a")},
    ),
    _case("no-conflict-with-what-is-off", {"f.a": excludes("f.b"), "f.b": False}, {"f.a": OK, "f.b": OFF}),
    _case("no-conflict-with-what-does-not-exist", {"f.a": excludes("f.ghost")}, {"f.a": OK}),
    _case(
        "no-conflict-with-what-is-inactive",
        {"f.a": excludes("f.b"), "f.b": {"default_value": True, "is_active": False}},
        {"f.a": OK, "f.b": denied(Reason.DISABLED)},
    ),
    _case(
        "no-conflict-with-what-lacks-a-prerequisite",
        {"f.a": excludes("f.b"), "f.b": needs("f.off"), "f.off": False},
        {"f.a": OK, "f.b": unmet("f.off")},
    ),
    _case(
        "a-triangle-removes-all-three",
        {"f.a": excludes("f.b"), "f.b": excludes("f.c"), "f.c": excludes("f.a")},
        {"f.a": conflict("f.b", "f.c"), "f.b": conflict("f.a", "f.c"), "f.c": conflict("f.a", "f.b")},
    ),
    _case(
        "an-open-chain-of-conflicts-removes-all",
        {"f.a": excludes("f.b"), "f.b": excludes("f.c"), "f.c": True},
        {"f.a": conflict("f.b"), "f.b": conflict("f.a", "f.c"), "f.c": conflict("f.b")},
    ),
    _case(
        "denying-one-side-frees-the-other",
        {"f.a": excludes("f.b"), "f.b": True},
        {"f.a": denied(Reason.NOT_GRANTED, Source.OVERRIDE), "f.b": OK},
        a=False,
    ),
    _case(
        "denying-the-middle-of-a-triangle-leaves-a-conflict",
        {"f.a": excludes("f.b"), "f.b": excludes("f.c"), "f.c": excludes("f.a")},
        {"f.a": conflict("f.c"), "f.b": denied(Reason.NOT_GRANTED, Source.OVERRIDE), "f.c": conflict("f.a")},
        b=False,
    ),
    _case(
        "an-override-that-grants-brings-the-conflict",
        {"f.a": excludes("f.b"), "f.b": False},
        {"f.a": conflict("f.b"), "f.b": denied(Reason.CONFLICT, Source.OVERRIDE, None, "f.a")},
        b=True,
    ),
    _case(
        "a-chain-through-a-conflict-falls",
        {"f.a": excludes("f.x"), "f.x": True, "f.b": needs("f.a"), "f.c": needs("f.b")},
        {"f.a": conflict("f.x"), "f.x": conflict("f.a"), "f.b": unmet("f.a"), "f.c": unmet("f.b")},
    ),
    _case(
        "what-falls-with-a-conflict-frees-nobody",
        # f.b is in conflict with f.y, and f.b's prerequisite falls in another conflict: nothing is enabled again.
        {"f.a": excludes("f.x"), "f.x": True, "f.b": needs("f.a", conflicts_with=["f.y"]), "f.y": True},
        {"f.a": conflict("f.x"), "f.x": conflict("f.a"), "f.b": conflict("f.y"), "f.y": conflict("f.b")},
    ),
    _case(
        "two-conflicts-do-not-cancel-out",
        # f.a excludes f.b, f.b excludes f.c: f.c does not return though f.b is gone.
        {"f.a": excludes("f.b"), "f.b": True, "f.c": excludes("f.b"), "f.d": needs("f.c")},
        {"f.a": conflict("f.b"), "f.b": conflict("f.a", "f.c"), "f.c": conflict("f.b"), "f.d": unmet("f.c")},
    ),
    _case(
        "a-feature-and-its-prerequisite's-prerequisite-in-conflict",
        {"f.a": True, "f.b": needs("f.a"), "f.c": needs("f.b", conflicts_with=["f.a"])},
        {"f.a": conflict("f.c"), "f.b": unmet("f.a"), "f.c": conflict("f.a")},
    ),
    Case(
        "conflicts-between-tiers-that-are-held-together",
        {
            "features": {
                "f.a": {"default_value": False, "conflicts_with": ["f.b"]},
                "f.b": False,
                "f.c": {"default_value": False, "depends_on": ["f.a"]},
            },
            "tiers": {"one": {"features": {"f.a": True, "f.c": True}}, "two": {"features": {"f.b": True}}},
            "tenants": {"both": {"licenses": ["one", "two"]}, "first": {"licenses": ["one"]}},
        },
        {
            "both": {
                "f.a": denied(Reason.CONFLICT, Source.TIER, "one", "f.b"),
                "f.b": denied(Reason.CONFLICT, Source.TIER, "two", "f.a"),
                "f.c": denied(Reason.PREREQUISITE_NOT_MET, Source.TIER, "one", "f.a"),
            },
            "first": {"f.a": granted(Source.TIER, "one"), "f.b": OFF, "f.c": granted(Source.TIER, "one")},
        },
    ),
    Case(
        "a-limit-whose-prerequisite-is-missing-has-no-value",
        {
            "features": {"f.a": False, "f.n": {"feature_type": "integer", "default_value": 5, "depends_on": ["f.a"]}},
            "tiers": {"pro": {"features": {"f.n": {"enabled": True, "unlimited": True}}}},
            "tenants": {"acme": {"licenses": ["pro"]}},
        },
        {"acme": {"f.n": denied(Reason.PREREQUISITE_NOT_MET, Source.TIER, "pro", "f.a")}},
    ),
)
