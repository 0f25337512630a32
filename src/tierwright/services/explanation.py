"""A decision in plain sentences, for people who support customers."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tierwright.resolution.decision import Decision, Reason, Source


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a tenant may or may not use a feature.

    Attributes:
        decision: what is explained.
        sentence: the answer and its reason in one sentence.
        remedy: what would change the answer, in one sentence; empty where it is granted.
    """

    decision: Decision
    sentence: str
    remedy: str


def explain(tenant_id: str, decision: Decision) -> Explanation:
    """Return the sentences for a decision about a tenant."""
    who, what = f"Tenant {tenant_id}", decision.feature_key
    sentence, remedy = _SENTENCES[decision.reason](decision)
    return Explanation(decision, sentence.format(who=who, what=what), remedy.format(who=who, what=what))


def _granted(decision: Decision) -> tuple[str, str]:
    return f"{{who}} may use {{what}}{_amount(decision)}: {_source(decision)} grants it{_end(decision)}.", ""


def _not_granted(decision: Decision) -> tuple[str, str]:
    if decision.source is Source.REGISTRY_DEFAULT:
        why = "no licence, tier or override grants it, and it is off by default"
        return f"{{who}} may not use {{what}}: {why}.", "Move the tenant to a tier with it, or set an override."
    why = f"{_source(decision)} denies it{_end(decision)}"
    return f"{{who}} may not use {{what}}: {why}.", "Change what denies it, or set an override."


def _feature_not_found(decision: Decision) -> tuple[str, str]:
    return "There is no feature {what}, so nobody may use it.", "Check the key, or create the feature."


def _disabled(decision: Decision) -> tuple[str, str]:
    return "{what} is switched off for everybody.", "Restore the feature; overrides do not help."


def _prerequisite(decision: Decision) -> tuple[str, str]:
    missing = _list(decision.blocked_by)
    return (
        f"{{who}} may not use {{what}}: {_source(decision)} grants it, but it needs {missing}, which the tenant does "
        "not have.",
        f"Give the tenant {missing} too.",
    )


def _conflict(decision: Decision) -> tuple[str, str]:
    others = _list(decision.blocked_by)
    return (
        f"{{who}} may not use {{what}}: {_source(decision)} grants it, but {others} {_is(decision.blocked_by)} granted "
        "too, and they exclude each other, so neither is given.",
        f"Deny {{what}} or {others} by an override.",
    )


def _unavailable(decision: Decision) -> tuple[str, str]:
    return (
        "Whether {who} may use {what} is not known, so it is denied: the database cannot be read.",
        "Look whether the database is up, and migrated (`tierwright doctor`), and ask again.",
    )


_SENTENCES: dict[Reason, Callable[[Decision], tuple[str, str]]] = {
    Reason.GRANTED: _granted,
    Reason.NOT_GRANTED: _not_granted,
    Reason.FEATURE_NOT_FOUND: _feature_not_found,
    Reason.DISABLED: _disabled,
    Reason.PREREQUISITE_NOT_MET: _prerequisite,
    Reason.CONFLICT: _conflict,
    Reason.UNAVAILABLE: _unavailable,
}


def _source(decision: Decision) -> str:
    if decision.tier_deleted:
        whose = "its tier" if decision.source is Source.TIER else "the tier from which its own inherits,"
        return f"{whose} {decision.tier_key}, which was deleted and counts until the tenant is moved,"
    return {
        Source.OVERRIDE: "an override for this tenant",
        Source.TIER: f"its tier {decision.tier_key}",
        Source.BASE_TIER: f"tier {decision.tier_key}, from which its own inherits,",
        Source.DEFAULT_TIER: f"tier {decision.tier_key}, the default for tenants without a valid licence,",
        Source.REGISTRY_DEFAULT: "the feature's default",
        Source.NONE: "nothing",
    }[decision.source]


def _amount(decision: Decision) -> str:
    if decision.unlimited:
        return " without limit"
    if decision.value is None or decision.value is True:
        return ""
    return f" with the value {_literal(decision.value)}"


def _literal(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return (text if len(text) <= 60 else f"{text[:57]}...").replace("{", "{{").replace("}", "}}")


def _end(decision: Decision) -> str:
    return "" if decision.expires_at is None else f" until {decision.expires_at:%Y-%m-%d %H:%M} UTC"


def _list(keys: tuple[str, ...]) -> str:
    return " and ".join(filter(None, (", ".join(keys[:-1]), keys[-1]))) if keys else "something"


def _is(keys: tuple[str, ...]) -> str:
    return "is" if len(keys) == 1 else "are"
