"""Documents written out: the same text for equal documents, as short as it can be read back, pleasant to compare."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Literal

from tierwright.catalog.document import FOLLOWING, SECTIONS, CatalogDocument, plain_json
from tierwright.catalog.value_forms import short_default, short_form
from tierwright.catalog.yaml_writing import write_yaml
from tierwright.tables.inputs import InputSchema


def dump(document: CatalogDocument, format: Literal["yaml", "json"] = "yaml") -> str:
    """Return a document as text; :func:`tierwright.catalog.parse` reads it back as an equal one.

    Sections come in their fixed order, entries sorted by key, fields in the order of their declaration; what follows
    from the key, or is the default, is left out.

    Args:
        document: the document.
        format: what to write it in; JSON has prices as text, because its readers round numbers.
    """
    shortest = _shortest(document)
    if format == "json":
        return json.dumps(shortest, ensure_ascii=False, indent=2, default=_text) + "\n"
    return write_yaml(shortest)


def _shortest(document: CatalogDocument) -> dict[str, dict[str, Any]]:
    """Return the sections that are not empty, without what goes without saying."""
    found = {
        section: dict(_entries(section, getattr(document, section))) for section in SECTIONS if section != "models"
    }
    found["models"] = {
        provider: dict(_entries("models", models)) for provider, models in sorted(document.models.items()) if models
    }
    return {section: found[section] for section in SECTIONS if found[section]}


def _entries(section: str, entries: Mapping[str, InputSchema]) -> Iterator[tuple[str, dict[str, Any]]]:
    for key in sorted(entries):
        yield key, dict(_fields(entries[key], {name: of(key) for name, of in FOLLOWING[section].items()}))


def _fields(entry: InputSchema, following: Mapping[str, str]) -> Iterator[tuple[str, Any]]:
    for name, default in _defaults(type(entry)).items():
        value = getattr(entry, name)
        if name in following:
            if value != following[name]:
                yield name, value
        elif name == "default_value":
            yield name, short_default(plain_json(value), str(getattr(entry, "feature_type", "")))
        elif name == "features":
            if value:
                yield name, {key: short_form(plain_json(value[key])) for key in sorted(value)}
        elif value != default:
            yield name, value if isinstance(value, Decimal | date) else plain_json(value)


def _defaults(entry: type[InputSchema]) -> dict[str, Any]:
    """Return the fields in their order, each with its default; a required one has a default that nothing equals."""
    found = _KNOWN.get(entry)
    if found is None:
        found = _KNOWN[entry] = {
            name: object() if field.is_required() else field.get_default(call_default_factory=True)
            for name, field in entry.model_fields.items()
        }
    return found


_KNOWN: dict[type[InputSchema], dict[str, Any]] = {}


def _text(value: Any) -> str:
    return format(value, "f") if isinstance(value, Decimal) else str(value.isoformat())
