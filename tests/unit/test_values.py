"""Values against a JSON Schema: what fits, what does not, and schemas that cannot be used."""

from __future__ import annotations

import builtins
import socket
from typing import Any

import pytest

from tierwright.errors import DependencyMissing, InvalidInput
from tierwright.resolution import values
from tierwright.resolution.values import check_document, check_schema, check_value

LIMIT = {"type": "integer", "minimum": 0, "maximum": 5}


@pytest.mark.parametrize("value", [0, 5])
def test_what_fits_passes(value: Any) -> None:
    check_schema(LIMIT)
    check_value(value, LIMIT)


@pytest.mark.parametrize("value", [6, -1, "1", None, True, 1.5])
def test_what_does_not_fit_is_refused(value: Any) -> None:
    with pytest.raises(InvalidInput, match="value_schema"):
        check_value(value, LIMIT)


def test_the_error_names_the_place_and_the_rule_and_never_repeats_the_value() -> None:
    schema = {"properties": {"size": {"maximum": 5}, "name": {"maxLength": 3}}}
    with pytest.raises(InvalidInput) as caught:
        check_value({"size": 7}, schema)
    assert "maximum at $.size (it is 5)" in str(caught.value)
    with pytest.raises(InvalidInput) as caught:
        check_value({"name": "secret" * 1000}, schema)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integr"},
        {"minimum": "1"},
        {"pattern": "("},
        {"$ref": "https://example.com/schema.json"},
        {"$ref": "other.json"},
        {"properties": {"a": {"$dynamicRef": "https://example.com/"}}},
        {"$ref": "#/$defs/missing"},
        {"$id": "https://example.com/", "type": "string"},
        {"$schema": "http://json-schema.org/draft-07/schema#"},
    ],
)
def test_a_schema_that_cannot_be_used_is_refused(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="Not a usable value_schema"):
        check_schema(schema)


def test_nothing_is_ever_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    remote = {"$ref": "http://127.0.0.1:9/schema.json"}
    with pytest.raises(InvalidInput):
        check_schema(remote)
    with pytest.raises(InvalidInput):  # also if it came past check_schema
        check_value(1, remote)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"patternProperties": {"(": {}}},
    ],
)
def test_a_schema_that_stumbles_later_denies(schema: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput):
        check_value({"a": 1}, schema)


def test_a_local_reference_works_and_names_of_properties_are_no_keywords() -> None:
    schema = {
        "$defs": {"small": LIMIT},
        "properties": {"a": {"$ref": "#/$defs/small"}, "$ref": {"type": "string"}, "pattern": {"const": "("}},
    }
    check_schema(schema)
    check_value({"a": 3, "$ref": "x"}, schema)
    with pytest.raises(InvalidInput):
        check_value({"a": 6}, schema)


def test_only_a_document_with_a_value_needs_the_schema() -> None:
    check_document({"enabled": True}, LIMIT)
    check_document({"enabled": True, "unlimited": True}, LIMIT)
    check_document({"enabled": True, "value": 99}, None)
    with pytest.raises(InvalidInput):
        check_document({"enabled": True, "value": 99}, LIMIT)


def test_without_the_package_a_schema_fails_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] in ("jsonschema", "referencing"):
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    values._tools.cache_clear()
    with pytest.raises(DependencyMissing, match=r"tierwright\[schemas\]"):
        check_document({"enabled": True, "value": 1}, LIMIT)
    with pytest.raises(DependencyMissing):
        check_schema(LIMIT)
    check_document({"enabled": True}, LIMIT)
