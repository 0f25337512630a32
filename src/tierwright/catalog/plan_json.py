"""Plans as text, so that one that was reviewed can be applied later."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from tierwright.catalog.differences import Change
from tierwright.catalog.document import CatalogDocument
from tierwright.catalog.effect import Effect
from tierwright.errors import InvalidInput
from tierwright.services.input_errors import typed_input
from tierwright.types import AuditEntity

if TYPE_CHECKING:
    from tierwright.catalog.plan import Plan

FORMAT = "tierwright-plan"
FORMAT_VERSION = 1
_KINDS = {"create", "change", "retire", "restore", "delete"}


def write_plan(plan: Plan) -> str:
    """Return a plan as JSON text."""
    return json.dumps(plan_json(plan) | {"document": plan.document.canonical()}, ensure_ascii=False, indent=1) + "\n"


def plan_json(plan: Plan) -> dict[str, Any]:
    """Return a plan as plain JSON, without its document."""
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "base": {"hash": plan.base.hash, "version": list(plan.base.version)},
        "document_hash": plan.document_hash,
        "prune": plan.prune,
        "changes": [change_json(change) for change in plan.changes],
        "effect": plan.effect.to_json(),
        "warnings": list(plan.warnings),
    }


def change_json(change: Change) -> dict[str, Any]:
    """Return a change as plain JSON."""
    return {
        "kind": change.kind,
        "entity": str(change.entity),
        "key": change.key,
        "old": None if change.old is None else dict(change.old),
        "new": None if change.new is None else dict(change.new),
    }


def read_plan(text: str) -> Plan:
    """Return the plan that :func:`write_plan` wrote.

    Raises:
        InvalidInput: this is no plan, it is one of another version of this format, or it was changed.
    """
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _bad("this is not JSON") from error
    if not isinstance(found, dict) or found.get("format") != FORMAT:
        raise _bad("this is something else")
    if found.get("format_version") != FORMAT_VERSION:
        raise _bad("it was written by another version of tierwright")
    try:
        return _plan(found)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, InvalidInput):
            raise
        raise _bad("parts of it are missing or changed") from error


def _plan(found: dict[str, Any]) -> Plan:
    from tierwright.catalog.plan import Base, Plan

    with typed_input("document of the plan"):
        document = CatalogDocument.model_validate(found["document"])
    if document.hash() != found["document_hash"]:
        raise _bad("its document was changed")
    number, token = found["base"]["version"]
    return Plan(
        tuple(map(_change, found["changes"])),
        Effect.from_json(found["effect"]),
        tuple(map(str, found["warnings"])),
        Base(str(found["base"]["hash"]), (number, token)),
        document,
        found["document_hash"],
        found["prune"] is True,
    )


def _change(found: dict[str, Any]) -> Change:
    if found["kind"] not in _KINDS:
        raise ValueError(found["kind"])
    return Change(found["kind"], AuditEntity(found["entity"]), found["key"], found["old"], found["new"])


def _bad(problem: str) -> InvalidInput:
    return InvalidInput(f"Not a plan that can be used: {problem}.", remedy="Plan again.")
