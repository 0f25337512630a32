"""What a plan of the catalogue says, for people: each kind of change and of effect counted, and the first few shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import groupby

import typer

from tierwright.catalog.differences import Change, ChangeKind, Fields
from tierwright.catalog.effect import Effect
from tierwright.catalog.outcome import Outcome, OutcomeKind
from tierwright.catalog.plan import Plan
from tierwright.catalog.value_forms import short_form
from tierwright.cli import output
from tierwright.cli.decisions import amount
from tierwright.resolution.decision import Decision
from tierwright.types import AuditEntity

#: How many of each kind are shown, unless told otherwise.
SAMPLE = 20
_COUNTED: dict[ChangeKind, str] = {
    "create": "to create",
    "change": "to change",
    "retire": "to retire",
    "restore": "to restore",
    "delete": "to delete",
}
_COLOURS = {"create": "green", "restore": "green", "change": "yellow", "retire": "red", "delete": "red"}
_EFFECTS: dict[OutcomeKind, tuple[str, str]] = {
    OutcomeKind.GAIN: ("gained", "green"),
    OutcomeKind.LOSS: ("lost", "red"),
    OutcomeKind.LOWERED: ("lowered", "red"),
    OutcomeKind.CHANGED: ("changed", "yellow"),
}
_WIDTHS = (7, 28, 32)
#: What becomes of a loss that is meant.
ALLOWED = "--allow-loss permits it"


def print_plan(plan: Plan, sample: int, *, allow_loss: bool = False) -> None:
    """Print the changes, the effect on tenants, and the warnings; ``allow_loss`` says whether a loss is meant."""
    print_changes(plan.changes, sample)
    if plan.changes:
        print_effect(plan.effect, sample, ALLOWED if allow_loss else "apply refuses it without --allow-loss")
    for warning in plan.warnings:
        typer.secho("warning: ", fg="yellow", nl=False)
        output.line(warning)


def print_changes(changes: Sequence[Change], sample: int) -> None:
    """Print what differs, sampled by kind of change and kind of thing; and how much in all."""
    for (entity, kind), found in groupby(sorted(changes, key=_place), key=lambda change: (change.entity, change.kind)):
        alike = list(found)
        for change in alike[:sample]:
            _print_change(change)
        if len(alike) > sample:
            typer.echo(f"... and {len(alike) - sample:,} more of {kind} {_noun(entity)}")
    typer.echo(summary(changes))


def summary(changes: Iterable[Change]) -> str:
    """Return how many changes of each kind there are."""
    counts = Counter(change.kind for change in changes)
    return ", ".join(f"{counts[kind]:,} {text}" for kind, text in _COUNTED.items() if counts[kind]) or "no difference"


def _place(change: Change) -> tuple[int, int]:
    return list(AuditEntity).index(change.entity), list(_COUNTED).index(change.kind)


def _noun(entity: AuditEntity) -> str:
    return entity.value.replace("_", " ")


def _print_change(change: Change) -> None:
    old, new = change.old or {}, change.new or {}
    typer.secho(change.kind, fg=_COLOURS[change.kind], nl=False)
    if change.entity is AuditEntity.TIER_FEATURE:
        output.line(f" {_noun(change.entity)} {change.key}: {_difference('feature_value', old, new)}")
        return
    output.line(f" {_noun(change.entity)} {change.key}")
    if change.kind in ("create", "delete"):
        return  # the fields are in the document, or in the export
    for name in new:
        is_said = name == "is_active" and change.kind != "change"
        is_memory = name == "imported" and len(new) > 1  # for the next import, not for people
        if not (is_said or is_memory):
            output.line(f"  {name}: {_difference(name, old, new)}")


def _difference(name: str, old: Fields, new: Fields) -> str:
    """Return ``before -> after``, or the one there is, with value documents as people write them."""
    shown = [
        output.literal(short_form(fields[name]) if name in ("feature_value", "default_value") else fields[name])
        for fields in (old, new)
        if name in fields
    ]
    return " -> ".join(shown)


def print_effect(effect: Effect, sample: int, outcome_of_loss: str) -> None:
    """Print who gains and loses what, a few of each kind, and what becomes of a loss."""
    typer.echo(f"effect on {effect.tenants:,} tenant(s) with a licence or an override")
    others = effect.value_changes.decisions - effect.lowered.decisions
    for count, what in (
        (effect.gains.decisions, f"gained, by {effect.gains.tenants:,} tenant(s)"),
        (effect.losses.decisions, f"lost, by {effect.losses.tenants:,} tenant(s)"),
        (effect.lowered.decisions, f"with a lower limit, of {effect.lowered.tenants:,} tenant(s)"),
        (others, "with another value"),
    ):
        if count:
            output.line(f"  {count:,} feature(s) {what}")
    if not (effect.by_feature or effect.elsewhere):
        typer.echo("  no decision changes")
    _print_by_feature(effect, sample)
    for kind in OutcomeKind:
        for each in [each for each in effect.samples if each.outcome.kind is kind][:sample]:
            _print_outcome(f"tenant {each.tenant_id}", each.outcome)
    for outcome in effect.elsewhere[:sample]:
        _print_outcome("any other tenant", outcome)
    if len(effect.elsewhere) > sample:
        typer.echo(f"  ... and {len(effect.elsewhere) - sample:,} more of any other tenant")
    if effect.takes_away:
        typer.secho(f"  tenants would have less than before: {outcome_of_loss}", fg="red")


def _print_by_feature(effect: Effect, sample: int) -> None:
    for key in list(effect.by_feature)[:sample]:
        counts = effect.by_feature[key]
        said = ", ".join(f"{counts[kind]:,} {_EFFECTS[kind][0]}" for kind in OutcomeKind if counts.get(kind))
        output.line(f"  {key}: {said}")
    if len(effect.by_feature) > sample:
        typer.echo(f"  ... and {len(effect.by_feature) - sample:,} more features")


def _print_outcome(who: str, outcome: Outcome) -> None:
    text, colour = _EFFECTS[outcome.kind]
    typer.secho(f"  {text:<{_WIDTHS[0]}}", fg=colour, nl=False)
    output.line(
        f"  {output.plain(who)}",
        outcome.feature_key,
        f"{_shown(outcome.before)} -> {_shown(outcome.after)}",
        widths=_WIDTHS[1:],
    )


def _shown(decision: Decision) -> str:
    if not decision.enabled:
        return "denied"
    return amount(decision) or "granted"
