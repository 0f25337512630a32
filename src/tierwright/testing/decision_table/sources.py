"""Cases of the first pass: which source speaks first, and what it is worth."""

from __future__ import annotations

from typing import Any

from tierwright.resolution.decision import Reason, Source
from tierwright.testing.decision_table.case import Case, denied, granted

ON: dict[str, Any] = {"enabled": True}
OFF: dict[str, Any] = {"enabled": False}
UNLIMITED: dict[str, Any] = {"enabled": True, "unlimited": True}

NOT_GRANTED = Reason.NOT_GRANTED
DEFAULT_ON = granted(Source.REGISTRY_DEFAULT)
DEFAULT_OFF = denied(NOT_GRANTED, Source.REGISTRY_DEFAULT)


def _limit(*, tier: Any = None, override: Any = None, default: Any = None) -> dict[str, Any]:
    """Return a document with one integer feature, a tier, and the tenant acme, of whom each may say something."""
    return {
        "features": {"limits.seats": {"feature_type": "integer", "default_value": default or {**OFF, "value": 2}}},
        "tiers": {"pro": {"features": {} if tier is None else {"limits.seats": tier}}},
        "tenants": {"acme": {"licenses": ["pro"], "overrides": {} if override is None else {"limits.seats": override}}},
    }


def _seats(name: str, document: dict[str, Any], expected: Any) -> Case:
    return Case(name, document, {"acme": {"limits.seats": expected}})


def _plain(name: str, feature: Any, expected: Any, *, tier: Any = None) -> Case:
    """Return a case of one feature, one default tier, and a tenant that nobody has heard of."""
    tiers = {"free": {"is_default": True, "features": {} if tier is None else {"f.a": tier}}}
    return Case(name, {"features": {"f.a": feature}, "tiers": tiers}, {"nobody": {"f.a": expected}})


SOURCES: tuple[Case, ...] = (
    Case(
        "unknown-key",
        {"features": {"f.a": True}},
        {
            "acme": {
                "f.b": denied(Reason.FEATURE_NOT_FOUND),
                "f": denied(Reason.FEATURE_NOT_FOUND),
                "": denied(Reason.FEATURE_NOT_FOUND),
                "F.A": denied(Reason.FEATURE_NOT_FOUND),
                "f.a ": denied(Reason.FEATURE_NOT_FOUND),
                "f.\u0430": denied(Reason.FEATURE_NOT_FOUND),  # a Cyrillic look-alike
                "f.a%' OR 1=1 --": denied(Reason.FEATURE_NOT_FOUND),
            }
        },
    ),
    _plain("on-by-default-for-everybody", True, DEFAULT_ON),
    _plain("off-by-default", False, DEFAULT_OFF),
    _plain("default-tier-grants", False, granted(Source.DEFAULT_TIER, "free"), tier=True),
    _plain(
        "default-tier-denies-what-is-on-by-default", True, denied(NOT_GRANTED, Source.DEFAULT_TIER, "free"), tier=False
    ),
    _plain("premium-is-not-on-by-default", {"default_value": True, "is_premium": True}, DEFAULT_OFF),
    _plain(
        "premium-may-come-from-the-default-tier",
        {"default_value": True, "is_premium": True},
        granted(Source.DEFAULT_TIER, "free"),
        tier=True,
    ),
    _plain("inactive-though-on", {"default_value": True, "is_active": False}, denied(Reason.DISABLED), tier=True),
    Case(
        "inactive-beats-an-override",
        {
            "features": {"f.a": {"default_value": True, "is_active": False}},
            "tenants": {"acme": {"overrides": {"f.a": True}}},
        },
        {"acme": {"f.a": denied(Reason.DISABLED)}},
    ),
    Case(
        "premium-by-tier-base-and-override",
        {
            "features": {
                key: {"default_value": True, "is_premium": True} for key in ("p.tier", "p.base", "p.override", "p.none")
            },
            "tiers": {
                "free": {"features": {"p.base": True}},
                "pro": {"base": "free", "features": {"p.tier": True}},
            },
            "tenants": {"acme": {"licenses": ["pro"], "overrides": {"p.override": True}}},
        },
        {
            "acme": {
                "p.tier": granted(Source.TIER, "pro"),
                "p.base": granted(Source.BASE_TIER, "free"),
                "p.override": granted(Source.OVERRIDE),
                "p.none": DEFAULT_OFF,
            }
        },
    ),
    _seats("value-of-the-tier", _limit(tier=10), granted(Source.TIER, "pro", 10)),
    _seats("tier-without-a-value-takes-the-default's", _limit(tier=ON), granted(Source.TIER, "pro", 2)),
    _seats("partial-override-keeps-the-tier's-value", _limit(tier=10, override=ON), granted(Source.OVERRIDE, None, 10)),
    _seats(
        "partial-override-keeps-unlimited",
        _limit(tier=UNLIMITED, override=ON),
        granted(Source.OVERRIDE, unlimited=True),
    ),
    _seats(
        "partial-override-takes-the-value-of-a-tier-that-denies",
        _limit(tier={**OFF, "value": 7}, override=ON),
        granted(Source.OVERRIDE, None, 7),
    ),
    _seats("unlimited-override", _limit(tier=10, override=UNLIMITED), granted(Source.OVERRIDE, unlimited=True)),
    _seats("override-ends-unlimited", _limit(tier=UNLIMITED, override=3), granted(Source.OVERRIDE, None, 3)),
    _seats("override-to-zero-is-zero", _limit(tier=10, override=0), granted(Source.OVERRIDE, None, 0)),
    _seats(
        "override-denies-and-shows-no-value",
        _limit(tier=10, override={**OFF, "value": 3}),
        denied(NOT_GRANTED, Source.OVERRIDE),
    ),
    _seats("unlimited-by-default", _limit(default=UNLIMITED), granted(Source.REGISTRY_DEFAULT, unlimited=True)),
    _seats(
        "tier-limits-what-is-unlimited-by-default", _limit(tier=4, default=UNLIMITED), granted(Source.TIER, "pro", 4)
    ),
    Case(
        "values-of-every-type",
        {
            "features": {
                "v.boolean": {"feature_type": "boolean", "default_value": {**OFF, "value": False}},
                "v.integer": {"feature_type": "integer", "default_value": {**OFF, "value": 0}},
                "v.number": {"feature_type": "number", "default_value": {**OFF, "value": 0}},
                "v.string": {"feature_type": "string", "default_value": {**OFF, "value": ""}},
                "v.json": {"feature_type": "json", "default_value": {**OFF, "value": None}},
                "v.null": {"feature_type": "json", "default_value": {**OFF, "value": 1}},
                "v.zero": {"feature_type": "number", "default_value": {**OFF, "value": 1}},
            },
            "tiers": {
                "pro": {
                    "features": {
                        "v.boolean": {**ON, "value": True},
                        "v.integer": 2**53 - 1,
                        "v.number": 0.1,
                        "v.string": "héllo ☃ 'quoted' \"twice\" %s",
                        "v.json": {**ON, "value": {"models": ["a", "b"], "nested": {"deep": [1, None, True]}}},
                        "v.null": {**ON, "value": None},
                        "v.zero": {**ON, "value": 0.0},
                    }
                }
            },
            "tenants": {"acme": {"licenses": ["pro"]}},
        },
        {
            "acme": {
                "v.boolean": granted(Source.TIER, "pro", True),
                "v.integer": granted(Source.TIER, "pro", 2**53 - 1),
                "v.number": granted(Source.TIER, "pro", 0.1),
                "v.string": granted(Source.TIER, "pro", "héllo ☃ 'quoted' \"twice\" %s"),
                "v.json": granted(Source.TIER, "pro", {"models": ["a", "b"], "nested": {"deep": [1, None, True]}}),
                "v.null": granted(Source.TIER, "pro", None),
                "v.zero": granted(Source.TIER, "pro", 0.0),
            }
        },
    ),
    Case(
        "tenants-do-not-see-each-other",
        {
            "features": {"f.a": False},
            "tiers": {"pro": {"features": {"f.a": True}}},
            "tenants": {
                "a": {"licenses": ["pro"]},
                "a%": {"overrides": {"f.a": False}},
                "A": {"overrides": {"f.a": True}},
                "\u0430": {},  # a Cyrillic look-alike
            },
        },
        {
            "a": {"f.a": granted(Source.TIER, "pro")},
            "a%": {"f.a": denied(NOT_GRANTED, Source.OVERRIDE)},
            "A": {"f.a": granted(Source.OVERRIDE)},
            "\u0430": {"f.a": DEFAULT_OFF},
            "a' OR 'a'='a": {"f.a": DEFAULT_OFF},
        },
    ),
)
