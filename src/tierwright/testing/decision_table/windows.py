"""Cases of windows: what is valid while ``starts_at <= at < expires_at``."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from tierwright.resolution.decision import Reason, Source
from tierwright.testing.decision_table.case import Case, Expected, denied, granted

HOUR = timedelta(hours=1)
TICK = timedelta(microseconds=1)
NOT_GRANTED = Reason.NOT_GRANTED
DEFAULT_OFF = denied(NOT_GRANTED, Source.REGISTRY_DEFAULT)


def _document(licenses: list[Any], override: Any = None) -> dict[str, Any]:
    overrides = {} if override is None else {"f.a": override}
    return {
        "features": {"f.a": False, "f.other": False},
        "tiers": {"pro": {"features": {"f.a": True, "f.other": True}}},
        "tenants": {"acme": {"licenses": licenses, "overrides": overrides}},
    }


def _license(
    name: str, starts: timedelta | None, expires: timedelta | None, after: timedelta | None, *, is_valid: bool
) -> Case:
    expected = granted(Source.TIER, "pro", expires=expires) if is_valid else DEFAULT_OFF
    document = _document([{"tier": "pro", "starts_at": starts, "expires_at": expires}])
    return Case(f"licence-{name}", document, {"acme": {"f.a": expected, "f.other": expected}}, after)


def _override(
    name: str, starts: timedelta | None, expires: timedelta | None, after: timedelta | None, *, is_valid: bool
) -> Case:
    document = _document([], {"feature_value": True, "starts_at": starts, "expires_at": expires})
    expected: Expected = granted(Source.OVERRIDE, expires=expires) if is_valid else DEFAULT_OFF
    return Case(f"override-{name}", document, {"acme": {"f.a": expected, "f.other": DEFAULT_OFF}}, after)


#: name, starts_at, expires_at, the moment (all as distances from now; None is open, or "now"), whether it is valid
_EDGES: tuple[tuple[str, timedelta | None, timedelta | None, timedelta | None, bool], ...] = (
    ("open-on-both-sides", None, None, None, True),
    ("runs", -HOUR, HOUR, None, True),
    ("runs-without-a-start", None, HOUR, None, True),
    ("runs-without-an-end", -HOUR, None, None, True),
    ("has-ended", -2 * HOUR, -HOUR, None, False),
    ("has-ended-without-a-start", None, -HOUR, None, False),
    ("has-not-begun", HOUR, 2 * HOUR, None, False),
    ("has-not-begun-without-an-end", HOUR, None, None, False),
    ("a-tick-before-it-begins", HOUR, 2 * HOUR, HOUR - TICK, False),
    ("as-it-begins", HOUR, 2 * HOUR, HOUR, True),
    ("a-tick-after-it-begins", HOUR, 2 * HOUR, HOUR + TICK, True),
    ("a-tick-before-it-ends", HOUR, 2 * HOUR, 2 * HOUR - TICK, True),
    ("as-it-ends", HOUR, 2 * HOUR, 2 * HOUR, False),
    ("a-tick-after-it-ends", HOUR, 2 * HOUR, 2 * HOUR + TICK, False),
    ("of-one-tick-as-it-begins", HOUR, HOUR + TICK, HOUR, True),
    ("of-one-tick-as-it-ends", HOUR, HOUR + TICK, HOUR + TICK, False),
)

_TRIAL: dict[str, Any] = {
    "features": {"f.a": False, "f.trial": False},
    "tiers": {
        "free": {"rank": 0, "is_default": True},
        "basic": {"rank": 1, "features": {"f.a": True}},
        "pro": {"rank": 2, "base": "basic", "features": {"f.trial": True}},
    },
    "tenants": {"acme": {"licenses": ["basic", {"tier": "pro", "expires_at": HOUR}]}},
}

WINDOWS: tuple[Case, ...] = (
    *(_license(*edge[:4], is_valid=edge[4]) for edge in _EDGES),
    *(_override(*edge[:4], is_valid=edge[4]) for edge in _EDGES),
    Case(
        "a-trial-over-a-paid-tier",
        _TRIAL,
        {
            "acme": {
                "f.a": granted(Source.BASE_TIER, "basic", expires=HOUR),
                "f.trial": granted(Source.TIER, "pro", expires=HOUR),
            }
        },
    ),
    Case(
        "after-a-trial-the-paid-tier",
        _TRIAL,
        {"acme": {"f.a": granted(Source.TIER, "basic"), "f.trial": DEFAULT_OFF}},
        HOUR,
    ),
    Case(
        "one-licence-follows-another-without-a-gap",
        _document([{"tier": "pro", "expires_at": HOUR}, {"tier": "pro", "starts_at": HOUR, "expires_at": 2 * HOUR}]),
        {"acme": {"f.a": granted(Source.TIER, "pro", expires=2 * HOUR)}},
        HOUR,
    ),
    Case(
        "an-override-that-ended-uncovers-the-tier",
        _document(["pro"], {"feature_value": False, "expires_at": -HOUR}),
        {"acme": {"f.a": granted(Source.TIER, "pro")}},
    ),
    Case(
        "an-override-denies-within-its-window",
        _document(["pro"], {"feature_value": False, "expires_at": HOUR}),
        {
            "acme": {
                "f.a": denied(NOT_GRANTED, Source.OVERRIDE, expires=HOUR),
                "f.other": granted(Source.TIER, "pro"),
            }
        },
    ),
    Case(
        "an-override-outlives-the-licence",
        _document([{"tier": "pro", "expires_at": HOUR}], {"feature_value": True, "expires_at": 3 * HOUR}),
        {"acme": {"f.a": granted(Source.OVERRIDE, expires=3 * HOUR), "f.other": DEFAULT_OFF}},
        2 * HOUR,
    ),
)
