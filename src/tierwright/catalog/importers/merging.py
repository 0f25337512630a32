"""What an import makes of a catalogue: pure, so that a plan can show it before anything is written.

``imported`` of a model holds what the importer wrote last, without what is a field's default. A field that differs from
it was set by hand, and stays.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from tierwright.catalog.document import CatalogDocument, ModelEntry, plain_json
from tierwright.catalog.importers.base import ImportResult, Reported
from tierwright.services.input_errors import typed_input

_OURS = {"import_source", "imported"}
_FIELDS = [name for name in ModelEntry.model_fields if name not in _OURS]
_DEFAULTS = {name: None if field.is_required() else field.default for name, field in ModelEntry.model_fields.items()}

Models = Mapping[str, Mapping[str, ModelEntry]]


def merge(current: CatalogDocument, imported: ImportResult, source: str) -> CatalogDocument:
    """Return a catalogue with a list's models in it.

    Models of the list are created, or get the fields in which the list has changed; fields that people set by hand
    stay. Models that came from this list and are no longer in it are retired, and revived when they come back. Models
    that people made, or another list, are left alone (see :func:`left_alone`), and so are features that are there.

    Args:
        current: the catalogue as it is.
        imported: from an importer.
        source: the importer's name.

    Returns:
        A new document; merging the same list again returns an equal one.

    Raises:
        InvalidInput: the list has keys that no document can have; the importers here report such entries instead.
    """
    with typed_input("list"):
        CatalogDocument(features=dict(imported.features), models={key: dict(m) for key, m in imported.models.items()})
    models = {provider: dict(entries) for provider, entries in current.models.items()}
    for provider, listed in imported.models.items():
        there = models.setdefault(provider, {})
        for model_id, entry in listed.items():
            there[model_id] = _merged(there.get(model_id), entry, source)
    kept = {key for key, _ in imported.reported}
    for provider, model_id in _vanished(current.models, imported.models, source):
        if model_id not in kept:
            models[provider][model_id] = _retired(models[provider][model_id])
    # Copied, not checked again: the catalogue may come from a database that others have written to.
    return current.model_copy(update={"features": {**imported.features, **current.features}, "models": models})


def left_alone(current: CatalogDocument, imported: ImportResult, source: str) -> tuple[Reported, ...]:
    """Return the models of a list that :func:`merge` leaves as they are, because something else made them."""
    return tuple(
        Reported(model_id, f"{provider} has this model {_origin(there)}; it is left as it is")
        for provider, listed in imported.models.items()
        for model_id in listed
        if (there := current.models.get(provider, {}).get(model_id)) is not None and there.import_source != source
    )


def _merged(there: ModelEntry | None, listed: ModelEntry, source: str) -> ModelEntry:
    if there is not None and there.import_source != source:
        return there
    written = _written(listed)
    if there is None:
        return listed.model_copy(update={"import_source": source, "imported": written})
    before = there.imported or {}
    if before == written:
        return there
    by_hand = set(_set_by_hand(there, before))
    changed = {name: getattr(listed, name) for name in _FIELDS if name not in by_hand}
    return there.model_copy(update={**changed, "imported": written})


def _retired(there: ModelEntry) -> ModelEntry:
    # Switched off by hand: should it come back, it stays off.
    if not there.is_active or "is_active" in (there.imported or {}):
        return there
    return there.model_copy(update={"is_active": False, "imported": {**(there.imported or {}), "is_active": False}})


def _vanished(current: Models, listed: Models, source: str) -> Iterable[tuple[str, str]]:
    for provider, entries in current.items():
        for model_id in entries.keys() - listed.get(provider, {}).keys():
            if entries[model_id].import_source == source:
                yield provider, model_id


def _written(listed: ModelEntry) -> dict[str, Any]:
    """Return what an importer writes, as JSON and without defaults: the same form at every import."""
    values = {name: getattr(listed, name) for name in _FIELDS}
    found: dict[str, Any] = plain_json({name: value for name, value in values.items() if value != _DEFAULTS[name]})
    return found


def _set_by_hand(there: ModelEntry, before: Mapping[str, Any]) -> Iterable[str]:
    for name in _FIELDS:
        if plain_json(getattr(there, name)) != before.get(name, _DEFAULTS[name]):
            yield name


def _origin(there: ModelEntry) -> str:
    return "made by hand" if there.import_source is None else f"from {there.import_source}"
