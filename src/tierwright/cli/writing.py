"""One write: in one transaction, in somebody's name; and what it changed, for people and machines."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import typer
from sqlalchemy.orm import Session

from tierwright.cli import database, inputs, options, output
from tierwright.services.audit import AuditContext, collect_entries
from tierwright.services.registry import PurgeResult, Registry, WriteResult
from tierwright.services.transactions import run_in_transaction

#: A write, to be run in a transaction; perhaps several times.
Work = Callable[[Registry], WriteResult]
#: What the history says of one changed thing.
Entry = Mapping[str, Any]

_SHARED = [
    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
    for name, annotation, default in (
        ("actor", options.Actor, None),
        ("reason", options.Reason, None),
        ("url", options.Url, None),
        ("schema", options.Schema, None),
        ("as_json", options.AsJson, False),
    )
]


def command(app: typer.Typer, name: str | None = None) -> Callable[[Callable[..., Work]], Callable[..., Work]]:
    """Return a decorator that makes a command of a function which turns its arguments into a write.

    The command takes what every write takes besides: the database, who writes, why, and --json.

    Args:
        app: the group.
        name: the command's name; the function's unless given.
    """

    def register(function: Callable[..., Work]) -> Callable[..., Work]:
        def run(
            *, url: str | None, schema: str | None, actor: str | None, reason: str | None, as_json: bool, **own: Any
        ) -> None:
            with output.reported_errors(as_json=as_json):
                result, entries = _committed(function(**own), url, schema, inputs.author(actor, reason))
            if as_json:
                output.print_json(_as_dict(result, entries))
            else:
                _print(result, entries)

        signature = inspect.signature(function, eval_str=True)
        run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what inspect, and so typer, reads
            parameters=[*signature.parameters.values(), *_SHARED], return_annotation=None
        )
        run.__annotations__ = {}
        run.__doc__ = function.__doc__
        app.command(name or function.__name__)(run)
        return function

    return register


def both(*results: WriteResult) -> WriteResult:
    """Return several results of one transaction as one."""
    return WriteResult(
        any(result.changed for result in results), tuple(warning for result in results for warning in result.warnings)
    )


def _committed(work: Work, url: str | None, schema: str | None, by: AuditContext) -> tuple[WriteResult, list[Entry]]:
    with database.writing(url, schema) as sessions:

        def transaction(session: Session) -> tuple[WriteResult, list[Entry]]:
            by.attach(session)
            entries = collect_entries(session)
            return work(Registry(session)), entries

        return run_in_transaction(sessions, transaction)


def _as_dict(result: WriteResult, entries: list[Entry]) -> dict[str, Any]:
    changes = [
        {"entity": str(each["entity"]), "key": each["entity_id"], "action": str(each["action"])}
        | {"old": each.get("old"), "new": each.get("new")}
        for each in entries
    ]
    said: dict[str, Any] = {"changed": result.changed, "warnings": list(result.warnings), "changes": changes}
    return said | ({"deleted": dict(result.deleted)} if isinstance(result, PurgeResult) else {})


def _print(result: WriteResult, entries: list[Entry]) -> None:
    if not result.changed:
        typer.echo("nothing to change")
    for entry in entries:
        output.line(f"{entry['action']} {entry['entity'].replace('_', ' ')} {entry['entity_id']}")
        for name, change in _changes(entry.get("old") or {}, entry.get("new") or {}):
            output.line(f"  {name}: {change}")
    for warning in result.warnings:
        typer.secho("warning: ", fg="yellow", nl=False)
        output.line(warning)


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what to say of each column: ``before -> after``, or the one value where the thing was made or is gone."""
    if old and new:
        return [(name, f"{output.literal(old.get(name))} -> {output.literal(new.get(name))}") for name in new]
    return [(name, output.literal(value)) for name, value in (old or new).items() if value not in (None, [], {})]
