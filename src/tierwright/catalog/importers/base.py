"""What an importer of a model list is: a name, and a way to read a file. Another list is one small module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

from tierwright.catalog.document import FeatureEntry, ModelEntry

#: Told how many entries of a list are done, and how many there are.
Progress = Callable[[int, int], None]


class Reported(NamedTuple):
    """An entry of a list that could not be mapped: what the list calls it, and why."""

    key: str
    why: str


@dataclass(frozen=True)
class ImportResult:
    """What a list holds, as far as it can be mapped.

    Attributes:
        models: entries by provider and model id, without ``import_source`` and ``imported``, which merging fills in.
        features: one by provider, under the key that the provider's models name.
        reported: the entries that could not be mapped. A model that was imported before and is reported now is left
            as it is: a list that says something odd about a model does not say that it is gone.
    """

    models: Mapping[str, Mapping[str, ModelEntry]]
    features: Mapping[str, FeatureEntry]
    reported: tuple[Reported, ...] = field(default=())


class Importer(Protocol):
    """Reads one kind of model list."""

    @property
    def name(self) -> str:
        """How the list is called on the command line, and in ``import_source``."""

    def read(self, file: Path | bytes, *, progress: Progress | None = None) -> ImportResult:
        """Return what a list holds.

        Args:
            file: the list's path, or its content.
            progress: told how far it is, from time to time.

        Raises:
            InvalidInput: it cannot be read, is no such list, or nothing in it can be mapped.
        """
