"""An integration's schema, ready to take documents apart and to check them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any

from tierwright.config_schema import documents
from tierwright.config_schema.documents import Parts
from tierwright.config_schema.findings import Checker, Findings, Problem
from tierwright.config_schema.keywords import applied, below
from tierwright.config_schema.marks import secrets_of
from tierwright.config_schema.pointers import Path, path_of, pointer_of, shown
from tierwright.config_schema.repeats import refuse_repeats
from tierwright.config_schema.suspicion import suspicious
from tierwright.resolution.values import check_schema, guarded

_WHAT = "config_schema"


def check_config_schema(schema: Mapping[str, Any], what: str = _WHAT) -> None:
    """Refuse a schema of settings that could not be used, or whose marks of secrets could not be heeded.

    Args:
        schema: a JSON document, as ``check_json`` lets it through; an empty one allows everything.
        what: the field's name, for the error.

    Raises:
        InvalidInput: it breaks the rules of JSON Schema 2020-12, refers to anything but its own parts, or marks or
            describes a secret in a place where that cannot be heeded.
        DependencyMissing: it is not empty, and the package jsonschema is not installed.
    """
    if schema:
        check_schema(schema, what)
        root = dict(schema)
        guarded(what, lambda: refuse_repeats(root, secrets_of(root, what), what))


class ConfigSchema:
    """The schema of an integration's settings.

    Args:
        schema: what ``integration_registry.config_schema`` holds.

    Attributes:
        secrets: the JSON Pointers of the secrets, sorted.

    Raises:
        InvalidInput, DependencyMissing: as :func:`check_config_schema`.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        check_config_schema(schema)
        self._root: dict[str, Any] = dict(schema)
        self._paths = secrets_of(self._root, _WHAT) if schema else frozenset()
        self.secrets = tuple(sorted(pointer_of(path) for path in self._paths))

    @classmethod
    def of(cls, schema: Mapping[str, Any]) -> ConfigSchema:
        """Return the compiled schema; the same one for the same schema."""
        return _compiled(json.dumps(schema, sort_keys=True))

    def split(self, document: Mapping[str, Any]) -> Parts:
        """Return a document's public part, and its secrets by JSON Pointer."""
        return documents.split(document, self._paths)

    def merge(self, public: Mapping[str, Any], secret: Mapping[str, Any]) -> dict[str, Any]:
        """Return the whole document of two parts; see :func:`tierwright.config_schema.documents.merge`."""
        return documents.merge(public, secret)

    def secret_names(self, document: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the JSON Pointers of the secrets that a document has."""
        return tuple(self.split(document).secret)

    def problems(self, document: Mapping[str, Any]) -> tuple[Problem, ...]:
        """Return the rules that a document breaks; missing secrets aside, see :meth:`findings`."""
        return self.findings(document).problems

    def findings(self, document: Mapping[str, Any], kept: Collection[str] = ()) -> Findings:
        """Return what is wrong with a document.

        Args:
            document: the document, or its public part.
            kept: pointers of secrets that are stored: where they are not in it, they count as present and right.

        Raises:
            InvalidInput: the schema cannot be applied after all, because it runs in a circle.
        """
        if not self._root:
            return Findings()
        given = self.secret_names(document)
        assumed = {path_of(pointer) for pointer in kept if pointer not in given} & self._paths
        whole = self.merge(document, {pointer_of(path): None for path in assumed})
        return self._checker.check(whole, assumed)

    def plain_secrets(self, public: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the places of a public part that look like secrets, and that the schema does not call public.

        What is meant to be read says so: ``"writeOnly": false``.
        """
        found = (path for path in suspicious(dict(public)) if not self._is_public(path))
        return tuple(sorted({shown(path) for path in found}))

    def _is_public(self, path: Path) -> bool:
        if self._says_public(path):
            return True
        # What is said of a list is said of its items.
        return isinstance(path[-1], int) and self._is_public(path[:-1])

    def _says_public(self, path: Path) -> bool:
        schemas: Iterable[dict[str, Any]] = [self._root]
        for key in path:
            schemas = [child for schema in applied(self._root, schemas) for child in below(schema, key)]
        return any(schema.get("writeOnly") is False for schema in applied(self._root, schemas))

    @cached_property
    def _checker(self) -> Checker:
        return Checker(self._root, self._paths)


@lru_cache(maxsize=128)
def _compiled(schema: str) -> ConfigSchema:
    return ConfigSchema(json.loads(schema))
