"""The files of a document: found, bounded, decoded, and read by the reader of their format."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Literal

from tierwright.catalog.json_reading import read_json
from tierwright.catalog.positions import Flaw, Parsed, Place
from tierwright.catalog.toml_reading import read_toml
from tierwright.catalog.yaml_reading import read_yaml
from tierwright.errors import InvalidInput

Format = Literal["yaml", "json", "toml"]

MAX_BYTES = 32 * 2**20
MAX_TOTAL_BYTES = 2 * MAX_BYTES
MAX_FILES = 10_000

_FORMATS: dict[str, Format] = {".yaml": "yaml", ".yml": "yaml", ".json": "json", ".toml": "toml"}
_READERS: dict[Format, Callable[..., Parsed]] = {"yaml": read_yaml, "json": read_json, "toml": read_toml}
_BOM = b"\xef\xbb\xbf"


@dataclass
class Source:
    """One file, or a text that came from elsewhere.

    Attributes:
        name: what it is called in errors.
        format: what it is written in.
        text: what it says.
        parsed: what that means, without places.
        flaws: what is wrong with it.
    """

    name: str
    format: Format
    text: str = ""
    parsed: Parsed = field(default_factory=Parsed)
    flaws: list[Flaw] = field(default_factory=list)
    _placed: Parsed | None = None

    @property
    def placed(self) -> Parsed:
        """Return the file as read with places; only errors need them, so only they pay for it."""
        if self._placed is None:
            self._placed = _READERS[self.format](self.text, places=True)
        return self._placed


def source_of(name: str, format: Format, data: bytes) -> Source:
    """Return a file that was read.

    Raises:
        DependencyMissing: it is YAML, and the package PyYAML is not installed.
    """
    source = Source(name, format)
    if len(data) > MAX_BYTES:
        source.flaws.append(Flaw((), f"it has more than {MAX_BYTES:,} bytes", final=True))
        return source
    try:
        source.text = data.removeprefix(_BOM).decode()
    except UnicodeDecodeError as error:
        source.flaws.append(Flaw((), "it is not UTF-8", _place_in(data, error.start), final=True))
        return source
    source.parsed = _READERS[format](source.text)
    if source.parsed.flaws:
        source.flaws.extend(source.placed.flaws)
    return source


def sources_at(path: FilePath, format: Format | None = None) -> list[Source]:
    """Return the files that make up the document at a path: the file itself, or all in the folder.

    Raises:
        InvalidInput: the name of the file does not tell its format.
        DependencyMissing: there is YAML, and the package PyYAML is not installed.
    """
    if path.is_dir():
        return _folder(path)
    known = format or _FORMATS.get(path.suffix.lower())
    if known is None and not path.exists():
        known = "yaml"  # never read: what is wrong is that it is not there
    if known is None:
        raise InvalidInput(
            f"The name of {path.name[:100]!a} does not tell its format.",
            remedy="Name it .yaml, .yml, .json or .toml.",
        )
    return [_file(str(path), path, known)]


def _folder(folder: FilePath) -> list[Source]:
    found: list[Source] = []
    total = 0
    for path in sorted(_files_below(folder), key=lambda path: path.as_posix()):
        source = _file(str(path), path, _FORMATS[path.suffix.lower()])
        found.append(source)
        total += len(source.text)
        if total > MAX_TOTAL_BYTES or len(found) > MAX_FILES:
            source.flaws.append(Flaw((), "with it the folder is too large", final=True))
            return found
    if not found:
        problem = "the folder has no file that ends in .yaml, .yml, .json or .toml"
        return [Source(str(folder), "yaml", flaws=[Flaw((), problem, final=True)])]
    return found


def _files_below(folder: FilePath) -> Iterator[FilePath]:
    """Yield the files of all formats, leaving out what is hidden; links to folders are not followed."""
    for root, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            path = FilePath(root, name)
            if not name.startswith(".") and path.suffix.lower() in _FORMATS and path.is_file():
                yield path


def _file(name: str, path: FilePath, format: Format) -> Source:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: a NUL in its name
        problem = getattr(error, "strerror", None) or str(error)
        return Source(name, format, flaws=[Flaw((), f"it cannot be read: {problem}", final=True)])
    return source_of(name, format, data)


def _place_in(data: bytes, position: int) -> Place:
    before = data[:position].removeprefix(_BOM)
    line = before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")
    return Place(before.count(b"\n") + 1, len(line) + 1)
