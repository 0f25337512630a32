"""Importers of model lists, found by name: modules of this package, and those that other packages offer.

A module here has the name of its list and an ``IMPORTER`` in it. Another package offers one through the entry point
group ``tierwright.importers``.
"""

from __future__ import annotations

import pkgutil
from importlib import import_module
from importlib.metadata import entry_points

from tierwright.catalog.importers.base import Importer, ImportResult, Progress, Reported
from tierwright.catalog.importers.merging import left_alone, merge
from tierwright.errors import InvalidInput

__all__ = ["ImportResult", "Importer", "Progress", "Reported", "find", "left_alone", "merge", "names"]

GROUP = "tierwright.importers"
_NO_LISTS = {"base", "fields", "json_list", "merging"}


def names() -> list[str]:
    """Return the names of all lists that can be imported."""
    return sorted({*_own(), *(point.name for point in entry_points(group=GROUP))})


def find(name: str) -> Importer:
    """Return the importer of a list.

    Args:
        name: such as ``litellm``.

    Raises:
        InvalidInput: there is none of this name.
    """
    if name in _own():
        found: Importer = import_module(f"{__name__}.{name}").IMPORTER
        return found
    for point in entry_points(group=GROUP, name=name):
        offered: Importer = point.load()
        return offered
    raise InvalidInput(f"There is no importer {name[:80]!a}.", remedy=f"Importers: {', '.join(names())}.")


def _own() -> set[str]:
    return {module.name for module in pkgutil.iter_modules(__path__)} - _NO_LISTS
