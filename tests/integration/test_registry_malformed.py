"""Malformed keys, tenants and values: typed errors, short ones, and never a statement."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, NoReturn

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.registry import ON, Statements, feature, tier, writer
from tierwright.errors import InvalidInput
from tierwright.services.registry import Registry

CASES = 100_000
LONGEST_MESSAGE = 2_500


def nested(levels: int, wrap: Callable[[Any], Any]) -> Any:
    made: Any = 1
    for _ in range(levels):
        made = wrap(made)
    return made


DEEP_LIST = nested(100_000, lambda inner: [inner])
DEEP_DICT = nested(100_000, lambda inner: {"a": inner})
HUGE = 10**5_000
#: What no key, tenant or value may be; each is also planted inside of longer ones.
BAD_TEXT = ("\x00", "\ud800", "\udfff", "a\x00b", "\ud83d")
#: Cyrillic a and e, Greek omicron, a wide Latin m.
LOOK_ALIKES = ("\u0430", "\u0435", "\u03bf", "\uff4d")
BAD_KEY_TEXT = (
    *BAD_TEXT, "%", "%s", "%(x)s", "'", '"', "';--", ":x", *LOOK_ALIKES, "\u200b", " ", "\n", "A", "É", "/", "\\", "*",
)  # fmt: skip
BAD_OBJECTS = (None, True, 1.5, float("nan"), float("inf"), HUGE, -HUGE, b"a.b", object(), DEEP_LIST, DEEP_DICT, {}, [])
BAD_NUMBERS = (float("nan"), float("inf"), float("-inf"), HUGE, -HUGE, 2**53, 1e300)


def bad_keys(chance: random.Random) -> Any:
    """Return something that is no key of any kind."""
    if chance.random() < 0.1:
        return chance.choice(BAD_OBJECTS)
    good = "".join(chance.choices("abz019_-.", k=chance.randrange(0, 12)))
    place = chance.randrange(len(good) + 1)
    return good[:place] + chance.choice(BAD_KEY_TEXT) + good[place:]


def bad_tenants(chance: random.Random) -> Any:
    """Return something that is no tenant; quotes and percent signs are fine there."""
    if chance.random() < 0.1:
        return chance.choice([each for each in BAD_OBJECTS if not isinstance(each, int) or each in (True, HUGE, -HUGE)])
    return chance.choice(("acme", "", "x" * 300)) + chance.choice((*BAD_TEXT, " ", "\n", "\u00a0"))


def bad_values(chance: random.Random) -> Any:
    """Return something that is no value document."""
    bad = chance.choice(
        (*BAD_NUMBERS, *BAD_TEXT, DEEP_LIST, DEEP_DICT, object(), {1: 2}, "x" * 70_000, b"", {"\x00": 1})
    )
    planted = chance.choice((bad, [bad], {"a": bad}, [{"b": [bad]}]))
    return chance.choice(
        (
            {"enabled": True, "value": planted},
            {"enabled": bad},
            {"enabled": True, "unlimited": bad},
            {"enabled": True, chance.choice(("Enabled", "v\u0430lue", "x" * 1_000)): 1},
            bad if not isinstance(bad, dict) else [bad],
            None,
        )
    )


def attacks(registry: Registry, chance: random.Random) -> Iterator[Callable[[], Any]]:
    """Yield writes, each with one malformed argument, round and round through the services."""
    key, tenant, value = (lambda: bad_keys(chance)), (lambda: bad_tenants(chance)), (lambda: bad_values(chance))
    r = registry
    makers: list[Callable[[], Callable[[], Any]]] = [
        lambda: _bound(r.features.create, feature(key())),
        lambda: _bound(r.features.create, feature("a.one", depends_on=[key()])),
        lambda: _bound(r.features.create, feature("a.one", default_value=value())),
        lambda: _bound(r.features.create, {**feature("a.one"), chance.choice(BAD_KEY_TEXT): 1}),
        lambda: _bound(r.features.change, key(), feature_name="One"),
        lambda: _bound(r.features.change, "a.one", conflicts_with=[key()]),
        lambda: _bound(r.features.change, "a.one", feature_name=chance.choice((*BAD_TEXT, HUGE, DEEP_LIST, "x" * 999))),
        lambda: _bound(r.features.change, "a.one", display_order=chance.choice((*BAD_NUMBERS, "1", DEEP_LIST))),
        lambda: _bound(r.features.retire, key()),
        lambda: _bound(r.tiers.create, tier("pro", tier_key=_no_tier_key(key()))),
        lambda: _bound(r.tiers.grant, "pro", {_hashable(key()): ON}),
        lambda: _bound(r.tiers.grant, "pro", {"a.one": value()}),
        lambda: _bound(r.tiers.grant, "pro", chance.choice((DEEP_LIST, "x", 5, HUGE))),
        lambda: _bound(r.tiers.revoke, "pro", [key()]),
        lambda: _bound(r.tiers.set_base, "pro", _no_tier_key(key()) or "\x00"),
        lambda: _bound(r.licenses.assign, tenant(), "pro"),
        lambda: _bound(r.licenses.assign, "acme", "pro", license_key=chance.choice((*BAD_TEXT, "", HUGE, DEEP_DICT))),
        lambda: _bound(
            r.licenses.assign, "acme", "pro", expires_at=chance.choice((HUGE, "x", DEEP_LIST, float("nan")))
        ),
        lambda: _bound(r.licenses.trial, "acme", "pro", days=chance.choice((HUGE, 0, 1.5, "1", DEEP_LIST))),
        lambda: _bound(r.licenses.end, tenant()),
        lambda: _bound(r.overrides.set, tenant(), "a.one", ON),
        lambda: _bound(r.overrides.set, "acme", key(), ON),
        lambda: _bound(r.overrides.set, "acme", "a.one", value()),
        lambda: _bound(r.overrides.set, "acme", "a.one", ON, deny=[key()]),
        lambda: _bound(r.overrides.remove, "acme", key()),
        lambda: _bound(r.purge, tenant()),
        lambda: _bound(r.models.retire, "openai", chance.choice((*BAD_TEXT, "", " x", HUGE, DEEP_LIST, "x" * 256))),
        lambda: _bound(r.components.retire, _no_tier_key(key())),
        lambda: _bound(r.integrations.change, _no_tier_key(key()), is_beta=True),
        lambda: _bound(r.features.retire, "a.one", reason=chance.choice((*BAD_TEXT, HUGE, DEEP_LIST))),
    ]
    for maker in itertools.cycle(makers):
        yield maker()


def _bound(write: Callable[..., Any], *args: Any, **kwargs: Any) -> Callable[[], Any]:
    return lambda: write(*args, **kwargs)


def _no_tier_key(key: Any) -> Any:
    """A tier's key needs no dot, so what is refused only for lacking one would be none here."""
    return key if not isinstance(key, str) or any(mark in key for mark in BAD_KEY_TEXT) else "\x00"


def _hashable(key: Any) -> Any:
    return key if not isinstance(key, list | dict) else "\x00"


def refused(writes: Iterator[Callable[[], Any]], count: int) -> None:
    """Run the writes; each must be refused by a short, printable InvalidInput."""
    for write in itertools.islice(writes, count):
        with pytest.raises(InvalidInput) as caught:
            write()
        text = str(caught.value)
        assert len(text) <= LONGEST_MESSAGE, text[:500]
        assert "\x00" not in text
        text.encode()
        assert caught.value.code == "invalid-input"


def test_a_hundred_thousand_are_refused_without_a_connection() -> None:
    """Nothing connects, so the database cannot matter: this part runs once."""

    def connect() -> NoReturn:
        raise AssertionError("a connection was opened")

    with Session(sa.create_engine("postgresql+psycopg://", creator=connect)) as session:
        refused(attacks(writer(session), random.Random(3)), CASES)


def test_no_statement_runs(migrated_engine: Engine) -> None:
    statements = Statements(migrated_engine)
    with Session(migrated_engine) as session:
        refused(attacks(writer(session), random.Random(4)), 3_000)
        assert not session.in_transaction()
    assert statements.count == 0


@pytest.mark.parametrize("deep", [DEEP_LIST, DEEP_DICT], ids=["list", "dict"])
def test_depth_does_not_exhaust_the_stack(deep: Any) -> None:
    with Session(sa.create_engine("sqlite://")) as session:
        registry = writer(session)
        for write in (
            lambda: registry.features.create(feature("a.one", default_value={"enabled": True, "value": deep})),
            lambda: registry.features.create(feature("a.one", value_schema=deep)),
            lambda: registry.features.create(feature("a.one", depends_on=deep)),
            lambda: registry.features.create(deep),
            lambda: registry.features.change("a.one", description=deep),
            lambda: registry.overrides.set("acme", "a.one", deep),
        ):
            with pytest.raises(InvalidInput):
                write()
