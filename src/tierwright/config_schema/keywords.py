"""Which keywords of JSON Schema (draft 2020-12) hold schemas, and which of those apply to the very same value.

https://json-schema.org/draft/2020-12/json-schema-core#section-10 lists them; ``definitions`` is the older name of
``$defs``, which references still reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from tierwright.resolution.values import referred

_SINGLE = (
    "additionalProperties",
    "contains",
    "contentSchema",
    "else",
    "if",
    "items",
    "not",
    "propertyNames",
    "then",
    "unevaluatedItems",
    "unevaluatedProperties",
)
_LISTED = ("allOf", "anyOf", "oneOf", "prefixItems")
_NAMED = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
_REFERENCES = ("$ref", "$dynamicRef")
#: They hold values, not schemas.
_VALUES = ("const", "default", "enum", "examples")
#: Their schemas apply to nothing by themselves.
SHELVES = ("$defs", "definitions")
#: Their schemas apply to the value that the schema itself is about.
_SAME_VALUE = {"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas"}


class Part(NamedTuple):
    """A schema within a schema: under which keyword, and under which name where the keyword is a mapping."""

    keyword: str
    name: str
    schema: dict[str, Any]


def parts_of(schema: dict[str, Any]) -> Iterator[Part]:
    """Yield the schemas directly within a schema, without those that are just true or false."""
    for keyword, held in schema.items():
        if keyword in _SINGLE:
            found: Iterable[tuple[str, Any]] = [("", held)]
        elif keyword in _LISTED and isinstance(held, list):
            found = (("", each) for each in held)
        elif keyword in _NAMED and isinstance(held, dict):
            found = held.items()
        else:
            continue
        yield from (Part(keyword, name, each) for name, each in found if isinstance(each, dict))


def unknown_in(schema: dict[str, Any]) -> Iterator[Any]:
    """Yield what a schema holds under keywords that the draft does not know, or not any more (``dependencies``)."""
    known = {*_SINGLE, *_LISTED, *_NAMED, *_VALUES}
    return (held for keyword, held in schema.items() if keyword not in known)


def targets_of(root: dict[str, Any], schema: dict[str, Any]) -> Iterator[Part]:
    """Yield the schemas that a schema refers to; the name is the reference."""
    for keyword in _REFERENCES:
        reference = schema.get(keyword)
        if isinstance(reference, str):
            found = referred(root, reference)
            if isinstance(found, dict):
                yield Part(keyword, reference, found)


def same_value(root: dict[str, Any], schema: dict[str, Any]) -> Iterator[Part]:
    """Yield the other schemas that may apply to the value which a schema is about."""
    yield from (part for part in parts_of(schema) if part.keyword in _SAME_VALUE)
    yield from targets_of(root, schema)


def applied(root: dict[str, Any], schemas: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return some schemas, and all that may apply to the same value with them."""
    found: dict[int, dict[str, Any]] = {}
    waiting = list(schemas)
    while waiting:
        schema = waiting.pop()
        if id(schema) not in found:
            found[id(schema)] = schema
            waiting.extend(part.schema for part in same_value(root, schema))
    return list(found.values())


def below(schema: dict[str, Any], key: str | int) -> Iterator[dict[str, Any]]:
    """Yield the schemas that a schema applies to the value under one key, or at one index."""
    for part in parts_of(schema):
        if isinstance(key, int):
            fits = part.keyword in ("items", "prefixItems", "contains", "unevaluatedItems")
        elif part.keyword == "properties":
            fits = part.name == key
        elif part.keyword == "patternProperties":
            fits = re.search(part.name, key) is not None
        else:
            fits = part.keyword in ("additionalProperties", "unevaluatedProperties")
            fits = fits and key not in schema.get("properties", {})
        if fits:
            yield part.schema
