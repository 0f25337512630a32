"""What a tenant may do through the API, and everything that another one can observe."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from random import Random
from typing import Any

from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.apart import rows_of
from tests.support.integrations import KEYS
from tests.support.registry import OFF, ON, writer
from tierwright import Entitlements
from tierwright.errors import TierwrightError
from tierwright.integrations import TenantIntegrations
from tierwright.isolation import tenant_context
from tierwright.services import support
from tierwright.services.explanation import explain

#: Pairs of tenants that something careless would take for one, or for a pattern of the other.
PAIRS: list[tuple[Any, Any]] = [
    ("acme", "acme2"),
    ("acme", "Acme"),
    ("a%", "ab"),
    ("a_c", "abc"),
    ("*", "acme"),
    ("acme/main", "acme"),
    (1, "01"),
    (-1, 1),
    ("\u00e9", "e\u0301"),
    ("x' OR ''='", "x"),
    ('x"', "x"),
    ("x\\", "x"),
    ("null", "NULL"),
    ("{acme}", "acme"),
    ("0f8fad5b-d9cb-469f-a165-70867728950e", "0f8fad5b-d9cb-469f-a165-70867728950f"),
    ("0f8fad5bd9cb469fa16570867728950e", "0f8fad5b-d9cb-469f-a165-70867728950e"),
    ("a" * 255, "a" * 254),
    ("a\tb", "a b"),
]

Action = Callable[[Session, Any, Any, Random], Any]


def _key(other: Any, source: Random) -> str:
    """Return a key that one tenant may choose: also the other one's name."""
    return source.choice(["main", "trial", str(other)[:100]])


def _override(session: Session, tenant: Any, other: Any, source: Random) -> Any:
    value, deny = source.choice([ON, OFF]), source.choice([[], ["f.b"]])
    return writer(session).overrides.set(tenant, source.choice(["f.a", "f.chat"]), value, deny=deny, reason=str(other))


def _configure(session: Session, tenant: Any, other: Any, source: Random) -> Any:
    document = {"channel": str(other), "token": source.choice(["x" * 8, "y" * 9])}
    if source.random() < 0.4:
        del document["token"]
    options = {"expected_version": source.choice([None, 1]), "replace": source.random() < 0.3}
    return TenantIntegrations(session, keys=KEYS).configure(tenant, "chat", document, actor="one", **options)


ACTIONS: dict[str, Action] = {
    "assign": lambda s, t, o, r: writer(s).licenses.assign(t, r.choice(["pro", "basic"]), license_key=_key(o, r)),
    "trial": lambda s, t, o, r: writer(s).licenses.trial(t, "pro", days=3, license_key=_key(o, r)),
    "end": lambda s, t, o, r: writer(s).licenses.end(t, _key(o, r)),
    "override": _override,
    "remove override": lambda s, t, o, r: writer(s).overrides.remove(t, r.choice(["f.a", "f.b", "f.chat"])),
    "configure": _configure,
    "enable": lambda s, t, o, r: TenantIntegrations(s, keys=KEYS).enable(t, "chat", actor="one"),
    "disable": lambda s, t, o, r: TenantIntegrations(s, keys=KEYS).disable(t, "chat", actor="one"),
    "remove": lambda s, t, o, r: TenantIntegrations(s, keys=KEYS).remove(t, "chat", actor="one"),
    "reveal": lambda s, t, o, r: TenantIntegrations(s, keys=KEYS).reveal(t, "chat", actor="one"),
    "purge": lambda s, t, o, r: writer(s).purge(t),
    "ask": lambda s, t, o, r: Entitlements(s).integrations(t),
}


def settle(engine: Engine, tenant: Any) -> None:
    """Give a tenant a licence, an override, settings with a secret, and a history."""
    with Session(engine) as session:
        registry, integrations = writer(session), TenantIntegrations(session, keys=KEYS)
        registry.licenses.assign(tenant, "pro")
        registry.overrides.set(tenant, "f.b", {"enabled": True, "value": True})
        integrations.configure(tenant, "chat", {"channel": "#own", "token": "own-token"}, actor="other")
        integrations.enable(tenant, "chat", actor="other")
        session.commit()


def act(engine: Engine, tenant: Any, other: Any, source: Random, how_many: int, *, contexts: bool = False) -> int:
    """Let a tenant do random things in one session; return how many of them were not refused.

    Args:
        engine: whose session.
        tenant: who acts.
        other: whom it may name where it chooses a text of its own.
        source: of the choices.
        how_many: things to do.
        contexts: whether the session works for one of the two, or for nobody, meanwhile.
    """
    done = 0
    with Session(engine) as session:
        for _ in range(how_many):
            works_for = source.choice([None, tenant, other]) if contexts else None
            around: AbstractContextManager[Any] = nullcontext()
            if works_for is not None:
                around = tenant_context(session, works_for)
            with around:
                try:
                    ACTIONS[source.choice(sorted(ACTIONS))](session, tenant, other, source)
                    done += 1
                except TierwrightError:  # what is refused to one is nothing to the other either
                    session.rollback()
            if source.random() < 0.5:
                (session.commit if source.random() < 0.8 else session.rollback)()
        session.commit()
    return done


def observed(engine: Engine, root: Engine, tenant: Any) -> dict[str, Any]:
    """Return what a tenant can see through the API, and all of its rows.

    Args:
        engine: of the application.
        root: that sees every row.
        tenant: whose.
    """
    with Session(engine) as session:
        asked, integrations = Entitlements(session), TenantIntegrations(session, keys=KEYS)
        decisions = dict(asked.evaluate_all(tenant))
        connection = session.connection()
        found = {
            "decisions": decisions,
            "sentences": [explain(str(tenant), decision) for decision in decisions.values()],
            "integrations": asked.integrations(tenant),
            "settings": integrations.list(tenant),
            "credentials": repr(dict(integrations.credentials(tenant, "chat").secrets)),
            "licences": support.licenses_of(connection, str(tenant)),
            "overrides": support.overrides_of(connection, str(tenant)),
            "counts": support.rows_of(connection, str(tenant)),
        }
    return {**found, "rows": rows_of(root, str(tenant))}
