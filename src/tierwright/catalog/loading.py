"""Documents loaded from files, with every problem told at its place."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path as FilePath
from typing import Any, NamedTuple

from pydantic import ValidationError

from tierwright.catalog.checking import flaws_in
from tierwright.catalog.document import SECTIONS, CatalogDocument
from tierwright.catalog.positions import Flaw, Path, Place
from tierwright.catalog.problems import flaws_of, kind_of, printable
from tierwright.catalog.sources import Format, Source, source_of, sources_at
from tierwright.errors import DocumentInvalid

#: So many problems are told; who has more corrects these first.
MAX_PROBLEMS = 20

_EDITOR_KEY = "$schema"
_LONGEST_PATH = 200


def load(path: str | os.PathLike[str], *, format: Format | None = None) -> CatalogDocument:
    """Return the document in a file, or in all YAML, JSON and TOML files below a folder together.

    Args:
        path: the file or folder; hidden files are left out.
        format: of the file, where its name does not tell.

    Raises:
        DocumentInvalid: it cannot be read, or is no valid document; ``details`` list all problems with their places.
        InvalidInput: the name of the file does not tell its format.
        DependencyMissing: YAML needs the package PyYAML, a JSON Schema in the document the package jsonschema.
    """
    return _document(sources_at(FilePath(path), format))


def parse(text: str | bytes, format: Format = "yaml", *, name: str = "<text>") -> CatalogDocument:
    """Return the document that a text says.

    Args:
        text: the text, or its UTF-8.
        format: what it is written in.
        name: what it is called in errors.

    Raises:
        DocumentInvalid, DependencyMissing: as for :func:`load`.
    """
    data = text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
    return _document([source_of(name, format, data)])


def check(document: CatalogDocument) -> None:
    """Refuse a document that was made in Python and contradicts itself; what :func:`load` returns does not.

    Raises:
        DocumentInvalid: a reference names nothing, something runs in a circle, a value does not fit its feature, or
            a tier grants what it cannot keep.
        DependencyMissing: it has a JSON Schema, and the package jsonschema is not installed.
    """
    _refuse([_Found(None, flaw, None) for flaw in flaws_in(document)])


class _Found(NamedTuple):
    """A flaw in a file; None for the file of a document that comes from none."""

    source: Source | None
    flaw: Flaw
    place: Place | None


def _document(sources: list[Source]) -> CatalogDocument:
    parts = _Parts(sources)
    if any(flaw.final for source in sources for flaw in source.flaws):
        _refuse(parts.read_flaws())
    try:
        document = CatalogDocument.model_validate(parts.combined())
    except ValidationError as error:
        flaws = flaws_of(error)
    else:
        flaws = list(flaws_in(document)) if not parts.is_flawed() else []
    _refuse([*parts.read_flaws(), *parts.located(flaws)])
    return document


class _Parts:
    """What several files say, put together, with the file that each entry came from."""

    def __init__(self, sources: list[Source]) -> None:
        self._sources = sources
        self._owners: dict[Path, Source] = {}

    def is_flawed(self) -> bool:
        return any(source.flaws for source in self._sources)

    def read_flaws(self) -> list[_Found]:
        """Return what was found file by file."""
        return [
            _Found(source, flaw, flaw.place or self._place(source, flaw))
            for source in self._sources
            for flaw in source.flaws
        ]

    def combined(self) -> dict[str, Any]:
        """Return all sections; what several files have is a flaw of the later one."""
        combined: dict[str, Any] = {}
        for source in self._sources:
            content = source.parsed.value
            if not isinstance(content, dict):
                problem = f"the sections {', '.join(SECTIONS)} are expected, and this is {kind_of(content)}"
                source.flaws.append(Flaw((), problem))
                continue
            for section, entries in content.items():
                if section != _EDITOR_KEY:
                    self._add(combined, source, (section,), entries)
        return combined

    def located(self, flaws: Iterable[Flaw]) -> Iterator[_Found]:
        """Yield flaws of the whole with their files and places, without what only follows from a flaw of a file."""
        known = {(id(source), flaw.path) for source in self._sources for flaw in source.flaws}
        for flaw in flaws:
            source = self._owner(flaw.path)
            if not any((id(source), flaw.path[:length]) in known for length in range(1, len(flaw.path) + 1)):
                yield _Found(source, flaw, self._place(source, flaw))

    def _add(self, into: dict[str, Any], source: Source, path: Path, content: Any) -> None:
        key = path[-1]
        if key not in into:
            self._owners[path] = source
            if len(self._sources) == 1 or not isinstance(content, dict):
                into[key] = content
                return
            into[key] = {}
        deeper = isinstance(content, dict) and isinstance(into[key], dict) and self._holds_entries(path)
        if deeper:
            for inner, value in content.items():
                self._add(into[key], source, (*path, inner), value)
        elif self._owners[path] is source:
            into[key] = content
        else:
            source.flaws.append(Flaw(path, f"it is also in {self._where(path)}", at_key=True))

    @staticmethod
    def _holds_entries(path: Path) -> bool:
        """Tell whether several files may add to what is at a path: to sections, and to the models of a provider."""
        return len(path) == 1 or (len(path) == 2 and path[0] == "models")

    def _where(self, path: Path) -> str:
        first = self._owners[path]
        place = first.placed.place(path, at_key=True)
        return printable(first.name) + (f", line {place.line}" if place else "")

    def _owner(self, path: Path) -> Source:
        for length in range(min(3, len(path)), 0, -1):
            if owner := self._owners.get(path[:length]):
                return owner
        return self._sources[0]

    @staticmethod
    def _place(source: Source, flaw: Flaw) -> Place | None:
        return source.placed.place(flaw.path, at_key=flaw.at_key)


def _refuse(found: list[_Found]) -> None:
    """Refuse a document with flaws.

    Raises:
        DocumentInvalid: there is one.
    """
    if not found:
        return
    found.sort(key=lambda each: (each.source.name if each.source else "", each.place or Place(0, 0)))
    problems = [_described(each) for each in found[:MAX_PROBLEMS]]
    lines = [_line(problem) for problem in problems]
    more = len(found) - len(problems)
    if len(found) == 1:
        message = lines[0]
    else:
        message = "\n  ".join(
            [f"The document has {len(found)} problems:", *lines, *([f"and {more} more"] if more else [])]
        )
    raise DocumentInvalid(message, remedy="Correct the document.", details={"problems": problems, "count": len(found)})


def _described(found: _Found) -> dict[str, Any]:
    return {
        "file": printable(found.source.name) if found.source else None,
        "line": found.place.line if found.place else None,
        "column": found.place.column if found.place else None,
        "path": printable(".".join(map(str, found.flaw.path)), _LONGEST_PATH),
        "problem": found.flaw.problem,
    }


def _line(problem: dict[str, Any]) -> str:
    place = ":".join(str(problem[name]) for name in ("file", "line", "column") if problem[name] is not None)
    return ": ".join(part for part in (place, problem["path"], problem["problem"]) if part)
