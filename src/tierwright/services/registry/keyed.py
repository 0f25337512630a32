"""What the registries have in common: things with a key that are created, changed, retired and restored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy.orm import Session

from tierwright.errors import AlreadyExists, WriteRefused
from tierwright.services.audit import Journal
from tierwright.services.registry.inputs import InputT, key_of, validated, validated_changes
from tierwright.services.registry.locking import catalogue_write
from tierwright.services.registry.results import UNCHANGED, WriteResult
from tierwright.services.registry.rows import apply, difference, fetch, not_found
from tierwright.types import AuditAction, AuditEntity

RowT = TypeVar("RowT")


class Keyed(Generic[RowT, InputT]):
    """One registry.

    Args:
        session: the host's session.
    """

    noun: ClassVar[str]
    entity: ClassVar[AuditEntity]
    row: type[RowT]
    schema: type[InputT]
    #: column -> what its value is called, for :func:`key_of`
    key: ClassVar[Mapping[str, str]]
    #: fields that :meth:`_change` leaves alone, beside the key
    fixed: ClassVar[tuple[str, ...]] = ()

    def __init__(self, session: Session) -> None:
        self._session = session

    def _checked_input(self, given: Any, journal: Journal) -> InputT:
        """Return the input, checked as far as possible without the database."""
        checked: InputT = validated(self.schema, given, self.noun)
        return checked

    def _check(self, before: Mapping[str, Any] | None, given: InputT, changed: list[str]) -> tuple[str, ...]:
        """Refuse what would break the catalogue, and return warnings; under the lock, before anything is written.

        Args:
            before: the columns as they are; None where the thing is made.
            given: the thing as it shall be.
            changed: the names of the columns that change.
        """
        return ()

    def _for_audit(self, columns: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return columns as the history shows them; who it was stands in ``performed_by``, and can be erased."""
        return {name: value for name, value in columns.items() if name != "created_by"}

    def _create(
        self, given: Any, journal: Journal, completed: Callable[[InputT], InputT] = lambda wanted: wanted
    ) -> WriteResult:
        wanted = self._checked_input(given, journal)
        with catalogue_write(journal):
            wanted = completed(wanted)  # with what only the database can tell
            values = wanted.row_values()
            key = {name: values[name] for name in self.key}
            if self._find(key) is not None:
                raise self._exists(key)
            warnings = self._check(None, wanted, list(values))
            self._session.add(self.row(**values))
            self._record(journal, key, values, AuditAction.CREATED, new=self._for_audit(values))
        return WriteResult(True, warnings)

    def _change(self, key: dict[str, Any], changes: Mapping[str, Any], journal: Journal) -> WriteResult:
        key = {name: key_of(what, key[name]) for name, what in self.key.items()}
        checked = self._checked_changes(key, changes)
        with catalogue_write(journal):
            row = self._find(key)
            if row is None:
                raise self._not_found(key)
            before = {name: getattr(row, name) for name, field in self.schema.model_fields.items() if not field.exclude}
            wanted = validated(self.schema, {**before, **checked}, self.noun)
            after = wanted.row_values()
            changed = difference(before, after)
            if not changed:
                return UNCHANGED
            warnings = self._check(before, wanted, changed)
            new = {name: after[name] for name in changed}
            old = {name: before[name] for name in changed}
            old_shown, new_shown = self._for_audit(old), self._for_audit(new)
            apply(row, new)
            self._record(journal, key, after, _action(new), old=old_shown, new=new_shown)
        return WriteResult(True, warnings)

    def _checked_changes(self, key: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        return validated_changes(self.schema, changes, self.noun, (*self.key, *self.fixed))

    def _find(self, key: Mapping[str, Any]) -> RowT | None:
        """Return the row with a key."""
        return fetch(self._session, self.row, **key)

    def _not_found(self, key: Mapping[str, Any]) -> WriteRefused:
        return not_found(self.noun, _named(key))

    def _exists(self, key: Mapping[str, Any]) -> AlreadyExists:
        return AlreadyExists(
            f"There is a {self.noun} {_named(key)} already.",
            remedy="Change it, or choose another key.",
            details=dict(key),
        )

    def _record(
        self, journal: Journal, key: Mapping[str, Any], values: Mapping[str, Any], action: AuditAction, **shown: Any
    ) -> None:
        journal.record(self.entity, _named(key), action, feature_key=values.get("feature_key"), **shown)


def _named(key: Mapping[str, Any]) -> str:
    return "/".join(key.values())


def _action(new: Mapping[str, Any]) -> AuditAction:
    """Retiring and restoring have names of their own, also among other changes."""
    if "is_active" not in new:
        return AuditAction.UPDATED
    return AuditAction.ENABLED if new["is_active"] else AuditAction.DISABLED
