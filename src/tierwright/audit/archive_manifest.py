"""Manifests: what the archives beside them must be."""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from tierwright.errors import ArchiveDamaged

FORMAT = "tierwright-history-1"
MANIFEST = ".manifest.json"
_TABLE = "feature_audit_log"
_MONTH = re.compile(r"(?!0000)\d{4}-(0[1-9]|1[0-2])", re.ASCII)
_KEY = frozenset({"id", "performed_at"})


@dataclass(frozen=True, slots=True)
class Manifest:
    """What an archive must be.

    Attributes:
        format: of the file.
        file: its name.
        month: of the rows, such as ``2026-01``.
        part: 1, or more where rows of the month came after it was archived.
        rows: how many there are.
        first, last: the moments of the first and the last one, as in the lines.
        columns: of the table, in the order of the lines.
        dialect: of the database that they are from.
        bytes: of the file.
        sha256: of the file.
        content_sha256: of the lines.
    """

    format: str
    file: str
    month: str
    part: int
    rows: int
    first: str
    last: str
    columns: tuple[str, ...]
    dialect: str
    bytes: int
    sha256: str
    content_sha256: str

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON-able data."""
        return asdict(self)


def archive_name(month: str, part: int) -> str:
    """Return the name of the file of a month's part."""
    return f"{_TABLE}_{month.replace('-', '_')}{f'.{part}' if part > 1 else ''}.jsonl.gz"


def read_manifest(path: Path) -> Manifest:
    """Return the manifest of an archive, which is not read.

    Raises:
        ArchiveDamaged: it is missing, or is no manifest.
    """
    try:
        found = json.loads(Path(f"{path}{MANIFEST}").read_text("utf-8"))
        manifest = Manifest(**{**found, "columns": tuple(found["columns"])})
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise damaged(path, f"its manifest cannot be read ({type(error).__name__})") from error
    if manifest.format != FORMAT or manifest.file != path.name:
        raise damaged(path, f"its manifest is about {manifest.file!a} in the format {manifest.format!a}")
    types = {"int": int, "str": str, "tuple[str, ...]": tuple}
    if not all(type(getattr(manifest, field.name)) is types[str(field.type)] for field in fields(manifest)):
        raise damaged(path, "its manifest has a text for a number, or the reverse")
    if not _MONTH.fullmatch(manifest.month):
        raise damaged(path, "its manifest names no month")
    names = set(manifest.columns)
    if not all(isinstance(name, str) for name in names) or len(names) < len(manifest.columns) or not names >= _KEY:
        raise damaged(path, "its manifest names no columns, or some twice")
    return manifest


def damaged(path: Path, why: str) -> ArchiveDamaged:
    """Return the error about an archive that cannot be trusted."""
    return ArchiveDamaged(
        f"The archive {str(path)!a} is not whole: {why}.",
        remedy="Take it from a copy, with its manifest; nothing is dropped for an archive that is not whole.",
        details={"file": str(path)},
    )
