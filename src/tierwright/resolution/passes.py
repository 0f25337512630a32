"""The passes of a resolution: which source speaks first, which prerequisites are met, what is in conflict."""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime
from typing import NamedTuple

from tierwright.resolution.decision import Decision, Reason, Source, make_decision
from tierwright.resolution.facts import MISSING, Feature, Grant
from tierwright.resolution.graph import Graph


class Voice(NamedTuple):
    """One source that says something about a feature."""

    grant: Grant
    source: Source
    tier_key: str | None = None
    expires_at: datetime | None = None
    tier_deleted: bool = False


class Denial(NamedTuple):
    """Why a feature that its sources enable is denied all the same."""

    reason: Reason
    blocked_by: tuple[str, ...]


def first_voice(feature: Feature, voices: Sequence[Voice]) -> Decision:
    """Pass 1: decide by the first source that speaks, and take its value or the next one that has any.

    Args:
        feature: an entry of the registry.
        voices: the sources that speak about it, the strongest first, without the registry default.
    """
    if not feature.is_active:
        return make_decision(feature.key, False, None, False, Reason.DISABLED, Source.NONE)
    first = voices[0] if voices else _default(feature)
    if not first.grant.enabled:
        return make_decision(feature.key, False, None, False, Reason.NOT_GRANTED, *_said_by(first))
    valued = first.grant if _has_value(first.grant) else _next_value(feature, voices)
    return make_decision(
        feature.key,
        True,
        None if valued.unlimited or valued.value is MISSING else valued.value,
        valued.unlimited,
        Reason.GRANTED,
        *_said_by(first),
    )


def denials(enabled: Set[str], graph: Graph) -> dict[str, Denial]:
    """Passes 2 to 4: what prerequisites and conflicts take away from the enabled features.

    Args:
        enabled: what pass 1 enabled, in whole groups of ``graph``.

    Returns:
        The reason for each that is taken away. Nothing is ever added.
    """
    met = with_prerequisites(enabled, graph)
    in_conflict = {key: partners for key in met if (partners := graph.conflicts.get(key, frozenset()) & met)}
    kept = with_prerequisites(met - in_conflict.keys(), graph)
    found = {key: Denial(Reason.CONFLICT, tuple(sorted(partners))) for key, partners in in_conflict.items()}
    for key in enabled - kept - in_conflict.keys():
        found[key] = Denial(Reason.PREREQUISITE_NOT_MET, tuple(sorted(graph.depends_on[key] - kept)))
    return found


def with_prerequisites(enabled: Set[str], graph: Graph) -> set[str]:
    """Return the features whose prerequisites are all in the result: the least fixpoint, so a cycle keeps nothing."""
    unmet = {key: len(graph.depends_on.get(key, ())) for key in enabled}
    met = [key for key, count in unmet.items() if count == 0]
    for key in met:  # grows while it is read
        for dependent in graph.dependents.get(key, ()):
            if dependent in unmet:
                unmet[dependent] -= 1
                if unmet[dependent] == 0:
                    met.append(dependent)
    return set(met)


def _said_by(voice: Voice) -> tuple[Source, str | None, datetime | None, tuple[str, ...], bool]:
    """Return the last fields of a decision, with nothing that blocks it."""
    return voice.source, voice.tier_key, voice.expires_at, (), voice.tier_deleted


def _default(feature: Feature) -> Voice:
    """Return what the registry says: it never enables a premium feature."""
    default = feature.default
    if feature.is_premium and default.enabled:
        default = default._replace(enabled=False)
    return Voice(default, Source.REGISTRY_DEFAULT)


def _next_value(feature: Feature, voices: Sequence[Voice]) -> Grant:
    return next((voice.grant for voice in voices if _has_value(voice.grant)), feature.default)


def _has_value(grant: Grant) -> bool:
    return grant.unlimited or grant.value is not MISSING
