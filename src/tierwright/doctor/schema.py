"""Findings about the schema: revision, tables, columns, constraints, indexes, triggers."""

from __future__ import annotations

from collections.abc import Iterator

from tierwright.doctor.report import Finding, Severity
from tierwright.migrations import SchemaStatus
from tierwright.migrations.catalog import Difference
from tierwright.migrations.repair import ensured

_CONSTRAINT_KINDS = {"fk_": "foreign-key", "chk_": "check", "pk_": "primary-key", "uq_": "unique-constraint"}


def schema_findings(status: SchemaStatus) -> Iterator[Finding]:
    """Yield what is wrong with the revision, and every difference from what the chain made, unless it has to run."""
    if not status.is_known:
        yield Finding(
            "revision-newer",
            Severity.INFO,
            str(status.current),
            f"The revision is unknown to this release, whose head is {status.head}.",
            "Nothing, if a later release migrated this database: revisions only expand. Otherwise check the "
            "version table's name.",
        )
        for difference in status.drift:
            yield _difference(
                difference,
                "If the version table is another project's, name yours (--version-table); otherwise restore it from "
                "a backup.",
            )
    elif status.pending:
        yield Finding(
            "revision-pending",
            Severity.ERROR,
            status.current or "no revision",
            f"{len(status.pending)} revision(s) are pending: {', '.join(status.pending)}.",
            _pending_remedy(status),
        )
    else:
        repairable = {definition.name for definition in ensured(status.head)}
        for difference in status.differences:
            yield _difference(
                difference,
                "Run `tierwright db repair`."
                if difference.name in repairable
                else "Restore it from a backup, or by hand to the expected definition.",
            )


def _pending_remedy(status: SchemaStatus) -> str:
    # Without a difference they are all there, and as this release makes them.
    is_empty = bool(status.differences) and all(item.kind == "table" for item in status.differences)
    if status.current is None and not is_empty:
        return "Tables of our names exist: `tierwright db adopt` if they are of this release, or use another schema."
    return "Run `tierwright db upgrade`."


def _difference(difference: Difference, remedy: str) -> Finding:
    kind = _kind(difference)
    if difference.is_addition:
        return Finding(
            f"{kind}-added",
            Severity.INFO,
            _object(difference),
            f"The application added it: {difference.found}.",
            "Nothing: revisions keep it.",
        )
    state = _state(difference)
    return Finding(
        f"{kind}-{state}",
        Severity.ERROR,
        _object(difference),
        f"Expected {difference.expected}; found {difference.found or 'nothing'}.",
        remedy,
    )


def _object(difference: Difference) -> str:
    return difference.table if difference.kind == "table" else f"{difference.table}.{difference.name}"


def _kind(difference: Difference) -> str:
    if difference.kind != "constraints":
        return {"indexes": "index"}.get(difference.kind, difference.kind.removesuffix("s"))
    return next(
        (kind for prefix, kind in _CONSTRAINT_KINDS.items() if difference.name.startswith(prefix)), "constraint"
    )


def _state(difference: Difference) -> str:
    found = difference.found
    if found is None:
        return "missing"
    if found.removesuffix(" INVALID") != found:
        return "invalid"
    if found.removesuffix(" NOT VALID") == difference.expected:
        return "not-validated"
    return "disabled" if found.removesuffix(" DISABLED") == difference.expected else "differs"
