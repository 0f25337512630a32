"""The files of ``tierwright catalog``: documents, lists and plans, read and written."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal

import typer

from tierwright import catalog
from tierwright.catalog.document import CatalogDocument
from tierwright.cli import output
from tierwright.errors import ConfigurationError, DocumentInvalid, InvalidInput

STDIN = Path("-")
_MOST_BYTES = 256 * 2**20
#: What documents are written in.
Format = Literal["yaml", "json"]


def document(file: Path) -> CatalogDocument:
    """Return the document in a file or folder, or on standard input, which is JSON if it begins with ``{``.

    Raises:
        DocumentInvalid: it cannot be read, or is no valid document.
        InvalidInput: the name of the file does not tell its format.
        DependencyMissing: YAML needs the package PyYAML.
    """
    if file != STDIN:
        return catalog.load(file)
    data = content(file)
    assert isinstance(data, bytes)  # noqa: S101  standard input is read here
    return catalog.parse(data, "json" if data.lstrip().startswith(b"{") else "yaml", name="<stdin>")


def content(file: Path) -> Path | bytes:
    """Return what is on standard input, or the path of a file.

    Raises:
        InvalidInput: standard input does not end.
    """
    if file != STDIN:
        return file
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if len(data) > _MOST_BYTES:
        raise InvalidInput("Standard input is too long.", remedy="Check what is piped in.")
    return data


def format_of(file: Path | None) -> Format:
    """Return the format that a file's name asks for.

    Raises:
        ConfigurationError: it asks for one that documents are not written in.
    """
    suffix = "" if file is None else file.suffix.lower()
    if suffix in ("", ".yaml", ".yml"):
        return "yaml"
    if suffix == ".json":
        return "json"
    raise ConfigurationError(f"No document is written as {suffix[:20]!a}.", remedy="Name it .yaml or .json.")


def read(file: Path, what: str) -> str:
    """Return the text of a file.

    Raises:
        InvalidInput: it cannot be read.
    """
    try:
        return file.read_text("utf-8")
    except (OSError, ValueError) as error:  # ValueError: not UTF-8, or a NUL in its name
        problem = getattr(error, "strerror", None) or "it is not UTF-8 text"
        raise InvalidInput(f"The {what} cannot be read: {problem}.", remedy="Check the path.") from None


def write(file: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Raises:
        ConfigurationError: it cannot be written.
    """
    try:
        handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name[:100]}.")
        try:
            with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as made:
                made.write(text)
            Path(name).chmod(_mode(file))
            Path(name).replace(file)
        except BaseException:
            with suppress(OSError):
                Path(name).unlink()
            raise
    except (OSError, ValueError) as error:
        problem = getattr(error, "strerror", None) or "its name cannot be used"
        raise ConfigurationError(f"The file cannot be written: {problem}.", remedy="Check the path.") from None


@contextmanager
def problems_listed(*, as_json: bool) -> Iterator[None]:
    """Print each problem of a bad document on a line of its own, as editors and CI systems read them."""
    try:
        yield
    except DocumentInvalid as error:
        if as_json or output.settings.debug:
            raise
        problems = error.details["problems"]
        for problem in problems:
            place = ":".join(str(problem[name]) for name in ("file", "line", "column") if problem[name] is not None)
            said = ": ".join(part for part in (place, problem["path"], problem["problem"]) if part)
            typer.echo(output.plain(said), err=True)
        count = error.details["count"]
        shown = "" if count == len(problems) else f", of which these are the first {len(problems)}"
        typer.echo(f"{error.code}: The document has {count} problem(s){shown}. {error.remedy}", err=True)
        raise typer.Exit(output.USAGE) from None


def _mode(file: Path) -> int:
    """Return the permissions of a file, or those that a new one gets."""
    with suppress(OSError):
        return file.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask
