"""Whether a value fits its feature's JSON Schema (2020-12), and whether such a schema can be used at all.

Shape and type of value documents are checked in ``tables.json_rules``; this is what a ``value_schema`` adds. It needs
the optional package jsonschema. Nothing is ever fetched: a schema refers to its own parts, or is refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any

from tierwright.errors import DependencyMissing, InvalidInput

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator

_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_REFERENCES = ("$ref", "$dynamicRef")
_SHORT = 120


def check_schema(schema: Mapping[str, Any], what: str = "value_schema") -> None:
    """Refuse a JSON Schema that could not be used.

    Args:
        schema: a JSON document, as ``check_json`` lets it through.
        what: the field's name, for the error.

    Raises:
        InvalidInput: it breaks the rules of JSON Schema 2020-12, or refers to anything but its own parts.
        DependencyMissing: the package jsonschema is not installed.
    """
    tools = _tools()
    if schema.get("$schema", _DRAFT) not in (_DRAFT, f"{_DRAFT}#"):
        raise _bad_schema(what, "$schema: only the draft 2020-12 is supported")
    for key, value in _keywords(schema):
        if key in _REFERENCES and not (isinstance(value, str) and value.startswith("#")):
            raise _bad_schema(what, f"{key}: it must begin with '#', because nothing is fetched")
        if key == "$id":
            raise _bad_schema(what, "$id: a schema here has no address")
    problem = guarded(what, lambda: tools.problem(_meta_validator(), dict(schema)))
    if problem:
        raise _bad_schema(what, problem)
    for key, value in _keywords(schema):
        if key in _REFERENCES:
            guarded(what, partial(tools.look_up, dict(schema), value))
        if key == "pattern":
            guarded(what, partial(re.compile, value))


def check_value(value: Any, schema: Mapping[str, Any], what: str = "value") -> None:
    """Refuse a value that does not fit a schema which :func:`check_schema` let through.

    Args:
        value: a JSON value.
        schema: the schema.
        what: what the value is, for the error.

    Raises:
        InvalidInput: it does not fit, or the schema cannot be used after all.
        DependencyMissing: the package jsonschema is not installed.
    """
    tools = _tools()
    problem = guarded("value_schema", lambda: tools.problem(tools.validator(dict(schema)), value))
    if problem:
        raise InvalidInput(
            f"The {what} does not fit the feature's value_schema: {problem}.", remedy="Correct the value."
        )


def check_document(document: Mapping[str, Any], schema: Mapping[str, Any] | None, what: str = "value") -> None:
    """Refuse a value document whose value does not fit the feature's schema; one without a value always fits.

    Raises:
        InvalidInput: the value does not fit.
        DependencyMissing: there is a schema and a value, and the package jsonschema is not installed.
    """
    if schema is not None and "value" in document:
        check_value(document["value"], schema, what)


def referred(schema: Mapping[str, Any], reference: str) -> Any:
    """Return the part that a reference names, of a schema which :func:`check_schema` let through; the part, no copy.

    Raises:
        InvalidInput: the reference names nothing.
        DependencyMissing: the package jsonschema is not installed.
    """
    return guarded("schema", lambda: _tools().look_up(schema, reference))


def validator_of(schema: Mapping[str, Any]) -> Draft202012Validator:
    """Return the validator of a schema, which fetches nothing.

    Raises:
        DependencyMissing: the package jsonschema is not installed.
    """
    return _tools().validator(dict(schema))


class _Tools:
    """The parts of jsonschema that are used, imported when they are first needed."""

    def __init__(self) -> None:
        try:
            import jsonschema
            import referencing
            import referencing.exceptions
            import referencing.jsonschema
        except ImportError as error:
            raise DependencyMissing(
                "A JSON Schema cannot be checked, because the package jsonschema is not installed.",
                remedy="Install tierwright[schemas].",
            ) from error
        self._jsonschema = jsonschema
        self._referencing = referencing
        self.unusable = (referencing.exceptions.Unresolvable, referencing.exceptions.NoSuchResource)

    def validator(self, schema: Any) -> Draft202012Validator:
        """Return a validator that knows no document but the schema itself."""
        # The default registry would fetch references from the network.
        return self._jsonschema.Draft202012Validator(schema, registry=self._referencing.Registry())

    def problem(self, validator: Draft202012Validator, value: Any) -> str | None:
        """Return what is most wrong with a value, without repeating the value; None if it fits."""
        found = self._jsonschema.exceptions.best_match(validator.iter_errors(value))
        if found is None:
            return None
        path = found.json_path.encode("ascii", "backslashreplace").decode()[:_SHORT]
        limit = repr(found.validator_value)
        return f"{found.validator} at {path}" + (f" (it is {limit})" if len(limit) <= _SHORT else "")

    def look_up(self, schema: Any, reference: str) -> Any:
        """Return the part of the schema that a reference names: the part itself, no copy."""
        resource = self._referencing.jsonschema.DRAFT202012.create_resource(schema)
        return self._referencing.Registry().with_resource("", resource).resolver().lookup(reference).contents


@lru_cache(maxsize=1)
def _tools() -> _Tools:
    return _Tools()


@lru_cache(maxsize=1)
def _meta_validator() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    # Its parts are other documents, which jsonschema carries with it.
    return Draft202012Validator(Draft202012Validator.META_SCHEMA)


def guarded(what: str, work: Callable[[], Any]) -> Any:
    """Return what something with a schema returns; what it stumbles over is the schema's fault.

    Raises:
        InvalidInput: a pattern is no regular expression, a reference names nothing, or it runs in a circle.
    """
    try:
        return work()
    except re.error as error:
        raise _bad_schema(what, "a pattern is not a regular expression") from error
    except (RecursionError, ArithmeticError) as error:
        raise _bad_schema(what, "it runs in a circle, or has a number out of range") from error
    except _tools().unusable as error:
        raise _bad_schema(what, "a reference names nothing") from error


def _keywords(schema: Any) -> Iterator[tuple[str, Any]]:
    """Yield every keyword at any depth with its value, leaving out the values that are data, not schema."""
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            for key, value in node.items():
                if isinstance(value, str):
                    yield key, value
                elif key not in ("const", "enum", "default", "examples"):
                    waiting.append(value)
        elif isinstance(node, list):
            waiting.extend(item for item in node if isinstance(item, dict | list))


def _bad_schema(what: str, problem: str) -> InvalidInput:
    return InvalidInput(f"Not a usable {what}: {problem}.", remedy="Write a JSON Schema of the draft 2020-12.")
