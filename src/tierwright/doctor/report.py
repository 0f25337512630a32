"""What an examination found."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """Whether a finding needs somebody to act."""

    ERROR = "error"
    INFO = "info"


@dataclass(frozen=True)
class Finding:
    """One thing that was found.

    Attributes:
        code: what kind of finding, stable, such as ``index-invalid``.
        severity: an error needs its remedy; information does not.
        object: what it is about: ``table.name``, a setting, or a revision.
        message: what was found.
        remedy: what to do.
        sql: a query that lists the rows, where rows are the matter.
    """

    code: str
    severity: Severity
    object: str
    message: str
    remedy: str
    sql: str | None = None


@dataclass(frozen=True)
class Report:
    """The outcome of an examination.

    Attributes:
        dialect: ``sqlite`` or ``postgresql``.
        current, head: the database's revision, and this release's.
        checked: how many of each kind of thing were looked at, so that "nothing found" says something.
        findings: errors first.
    """

    dialect: str
    current: str | None
    head: str
    checked: dict[str, int]
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """True if there is no finding that needs somebody to act."""
        return not any(finding.severity is Severity.ERROR for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return the report as JSON-able data."""
        return {"ok": self.ok, **asdict(self)}
