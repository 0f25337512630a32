"""Entries of the history as text: lines for people, JSON and CSV for machines."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable
from contextlib import nullcontext
from dataclasses import fields
from enum import StrEnum
from pathlib import Path
from typing import Any, TextIO

import typer

from tierwright.audit import AuditEntry, UnreadableRow
from tierwright.cli import output
from tierwright.cli.new_files import new_file

_NAMES = tuple(field.name for field in fields(AuditEntry))
_WIDTHS = (20, 9)
#: A spreadsheet takes what begins so for a formula (OWASP, "CSV Injection"); an apostrophe before it makes it text.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


class Format(StrEnum):
    """How entries are written to a file."""

    JSONL = "jsonl"
    CSV = "csv"


class LeftOut:
    """Tells of rows that cannot be read, each once, on standard error; behind the first ones, how many there were.

    Args:
        told: how many are told one by one.
    """

    def __init__(self, told: int = 5) -> None:
        self._told = told
        self._known: set[str] = set()

    def __call__(self, row: UnreadableRow) -> None:
        if row.where in self._known:
            return
        self._known.add(row.where)
        if len(self) <= self._told:
            typer.echo(f"left out: {output.plain(row)}", err=True)

    def __len__(self) -> int:
        return len(self._known)

    def close(self) -> None:
        """Say how many there were, where not all were told."""
        if len(self) > self._told:
            typer.echo(f"left out: {len(self):,} rows; `tierwright doctor` says more", err=True)


def as_dict(entry: AuditEntry) -> dict[str, Any]:
    """Return an entry as JSON has it."""
    return {name: getattr(entry, name) for name in _NAMES}


def print_line(entry: AuditEntry) -> None:
    """Print an entry as one line of JSON."""
    typer.echo(_json(entry))


def print_entry(entry: AuditEntry) -> None:
    """Print an entry for people: when, what, to which thing, how it changed, by whom and why."""
    who = f"by {entry.performed_by or 'nobody named'}" + (f": {entry.reason}" if entry.reason else "")
    when = f"{entry.performed_at:%Y-%m-%d %H:%M:%S}Z"
    output.line(when, entry.action, f"{entry.entity_type} {entry.entity_id}", _change(entry), who, widths=_WIDTHS)


def write_entries(entries: Iterable[AuditEntry], format_: Format, to: Path | None) -> int:
    """Write entries, and return how many there were.

    Args:
        entries: which.
        format_: JSON lines, or CSV.
        to: a file that is not there yet; None is standard output.

    Raises:
        InvalidInput: the file is there, or cannot be written.
    """
    with nullcontext(sys.stdout) if to is None else new_file(to) as file:
        return _write_csv(entries, file) if format_ is Format.CSV else _write_lines(entries, file)


def _write_lines(entries: Iterable[AuditEntry], file: TextIO) -> int:
    count = 0
    for entry in entries:
        file.write(_json(entry) + "\n")
        count += 1
    return count


def _write_csv(entries: Iterable[AuditEntry], file: TextIO) -> int:
    writer = csv.writer(file)
    writer.writerow(_NAMES)
    count = 0
    for entry in entries:
        writer.writerow(_cell(value) for value in as_dict(entry).values())
        count += 1
    return count


def _json(entry: AuditEntry) -> str:
    """Return one line for every terminal and every reader of lines: what is not printable is escaped, as JSON does."""
    text = json.dumps(as_dict(entry), default=output.json_text, ensure_ascii=False)
    return text if text.isprintable() else "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in text)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    text = json.dumps(value, ensure_ascii=False) if isinstance(value, dict | list) else output.json_text(value)
    text = text.encode(errors="backslashreplace").decode()  # half a surrogate pair has no UTF-8
    return f"'{text}" if text.startswith(_FORMULA) else text


def _change(entry: AuditEntry) -> str:
    old, new = (value if isinstance(value, dict) else {} for value in (entry.old_value, entry.new_value))
    if entry.old_value is None or entry.new_value is None:
        return ""
    return ", ".join(
        f"{name}: {output.literal(old.get(name))} > {output.literal(new.get(name))}"
        for name in dict.fromkeys([*old, *new])
    )
