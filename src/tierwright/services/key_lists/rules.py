"""What a list of feature keys may hold; without a database."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from pydantic import ConfigDict, TypeAdapter

from tierwright.errors import InvalidInput
from tierwright.services.input_errors import typed_input
from tierwright.services.registry.rules import refuse_cycle
from tierwright.tables.inputs import FeatureKeys

FEATURES = "feature_registry"
#: By table: the columns that are lists of feature keys.
LISTS: Mapping[str, tuple[str, ...]] = {
    FEATURES: ("depends_on", "conflicts_with"),
    "component_registry": ("required_features",),
    "integration_registry": ("required_features",),
}
_CHECKED: TypeAdapter[list[str]] = TypeAdapter(FeatureKeys, config=ConfigDict(strict=True))


class Written(NamedTuple):
    """A row of a registry that somebody writes; None is a row that is not there.

    Attributes:
        table: the name of the table.
        before: the columns as they are.
        after: the columns as they will be; a list that is left out is empty.
    """

    table: str
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None

    def old_key(self) -> str | None:
        """Return what the row is called now."""
        return None if self.before is None else str(self.before[key_column(self.table)])

    def new_key(self) -> str | None:
        """Return what the row will be called."""
        return None if self.after is None else str(self.after.get(key_column(self.table)))

    def lists(self) -> dict[str, Any]:
        """Return the lists as they will be, by column."""
        return {} if self.after is None else {name: self.after.get(name, []) for name in LISTS[self.table]}

    def changed(self) -> dict[str, Any]:
        """Return the lists that are written anew, by column: all of them where the row is called otherwise."""
        before = self.before if self.before is not None and self.old_key() == self.new_key() else None
        return {name: keys for name, keys in self.lists().items() if before is None or keys != before[name]}

    def newly_named(self) -> set[str]:
        """Return the keys that a list names and did not name before; what was broken before is not this write's."""
        before = self.before or {}
        return {key for name, keys in self.changed().items() for key in keys if key not in (before.get(name) or ())}


def kind_of(table: str) -> str:
    """Return what a row of a table is called, for a sentence."""
    return table.removesuffix("_registry")


def key_column(table: str) -> str:
    """Return the column by which people know the rows of a table."""
    return f"{kind_of(table)}_key"


def refuse_malformed(written: Iterable[Written]) -> None:
    """Refuse lists that cannot be right, whatever else the database holds.

    Raises:
        InvalidInput: it is no list of feature keys, names one twice, or a feature excludes what it is or needs.
        CycleRefused: a feature needs itself.
    """
    for row in written:
        changed = row.changed()
        for name, keys in changed.items():
            with typed_input(f"{name} of {kind_of(row.table)}"):
                _CHECKED.validate_python(keys)
        if changed and row.table == FEATURES:
            _refuse_contradiction(str(row.new_key()), **row.lists())


def named_in(keys: Any) -> Iterator[str]:
    """Yield the keys in a stored list, as far as it is one."""
    if isinstance(keys, list | tuple):
        yield from (key for key in keys if isinstance(key, str))


def _refuse_contradiction(key: str, depends_on: Any, conflicts_with: Any) -> None:
    needed, excluded = set(named_in(depends_on)), set(named_in(conflicts_with))
    if key in needed:
        refuse_cycle("Prerequisites", (key, key))
    if key in excluded:
        raise InvalidInput(f"The feature {key} excludes itself.", remedy="Take it out of conflicts_with.")
    if both := sorted(needed & excluded):
        raise InvalidInput(
            f"The feature {key} needs what it excludes: {', '.join(both[:5])}.",
            remedy="Take it out of depends_on, or of conflicts_with.",
        )
