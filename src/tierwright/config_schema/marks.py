"""Which settings of an integration are secret: the marks ``"writeOnly": true`` of a schema, found and checked.

A mark counts where a value's place follows from the schema alone: under nested ``properties``, and behind ``$ref`` into
the schema itself. Anywhere else (in a list, under ``allOf``, ``if``, ``additionalProperties`` and so on) whether a
value is secret would depend on other values, or on how many there are, and a mark that nothing heeds would be the worst
of all. So such a schema is refused.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from tierwright.config_schema.keywords import SHELVES, parts_of, targets_of, unknown_in
from tierwright.config_schema.pointers import SecretPath, pointer_of
from tierwright.errors import InvalidInput

#: No document is deeper (tables.json_rules), and so many references in a row are a mistake.
_DEEPEST = 32
_MOST_SECRETS = 256
_MOST_STEPS = 10_000


def is_marked(schema: Any) -> bool:
    """Tell whether a schema says that its value is a secret."""
    return isinstance(schema, dict) and schema.get("writeOnly") is True


def bad_mark(what: str, problem: str, path: SecretPath = ()) -> InvalidInput:
    """Return the refusal of a schema for what it says of a secret, or of the object at a place."""
    at = f" at {pointer_of(path)}" if path else ""
    return InvalidInput(
        f"Not a usable {what}: {problem}{at}.",
        remedy='Mark secrets ("writeOnly": true) in nested properties or behind a local $ref, and only there.',
    )


def secrets_of(root: dict[str, Any], what: str) -> frozenset[SecretPath]:
    """Return the places of the secrets.

    Args:
        root: a schema that ``resolution.values.check_schema`` let through.
        what: the field's name, for the error.

    Raises:
        InvalidInput: a secret is marked where the mark cannot be heeded.
    """
    found = _Search(root, what)
    found.walk(root, (), ())
    found.refuse_unheeded()
    return frozenset(found.secrets)


class _Search:
    """Walks the places that are known beforehand, and looks for marks behind everything else."""

    def __init__(self, root: dict[str, Any], what: str) -> None:
        self._root = root
        self._what = what
        self._marked, self._leading = _marked_and_leading(root)
        self._heeded: set[int] = set()
        self._steps = 0
        self.secrets: set[SecretPath] = set()

    def walk(self, schema: dict[str, Any], path: SecretPath, references: tuple[str, ...]) -> None:
        """Collect the secrets at and below one place."""
        if id(schema) not in self._leading:
            return
        self._steps += 1
        if len(path) > _DEEPEST or self._steps > _MOST_STEPS or len(self.secrets) > _MOST_SECRETS:
            raise bad_mark(self._what, "there are too many secrets, or they are too deep")
        if is_marked(schema):
            self._heed(schema, path)
            return
        for part in parts_of(schema):
            if part.keyword == "properties":
                self.walk(part.schema, (*path, part.name), references)
            elif part.keyword not in SHELVES:
                self._refuse_secrets_in(part.schema, f"under {part.keyword}", path)
        for target in targets_of(self._root, schema):
            if target.keyword != "$ref":
                self._refuse_secrets_in(target.schema, f"behind {target.keyword}", path)
            elif target.name in references or len(references) >= _DEEPEST:
                self._refuse_secrets_in(target.schema, "behind references that run in a circle, or too far", path)
            else:
                self.walk(target.schema, path, (*references, target.name))

    def refuse_unheeded(self) -> None:
        """Refuse marks that no place of the document leads to."""
        if self._marked - self._heeded:
            raise bad_mark(self._what, 'a "writeOnly": true that no property leads to')

    def _heed(self, schema: dict[str, Any], path: SecretPath) -> None:
        if not path:
            raise bad_mark(self._what, "the whole document cannot be a secret")
        self.secrets.add(path)
        # All that belongs to a secret is secret, marked again or not.
        waiting = [schema]
        while waiting:
            each = waiting.pop()
            if id(each) not in self._heeded:
                self._heeded.add(id(each))
                waiting += [part.schema for part in (*parts_of(each), *targets_of(self._root, each))]

    def _refuse_secrets_in(self, schema: dict[str, Any], where: str, path: SecretPath) -> None:
        if id(schema) in self._leading:
            raise bad_mark(self._what, f'a "writeOnly": true {where}', path)


def _marked_in(waiting: list[Any]) -> Iterator[int]:
    """Yield what is marked in values that nobody takes for schemas; a reference may lead there all the same."""
    while waiting:
        held = waiting.pop()
        if is_marked(held):
            yield id(held)
        if isinstance(held, dict | list):
            waiting.extend(held.values() if isinstance(held, dict) else held)


def _marked_and_leading(root: dict[str, Any]) -> tuple[set[int], set[int]]:
    """Return the schemas that are marked, and those from which a marked one can be reached in whatever way."""
    above: dict[int, list[int]] = defaultdict(list)
    marked: set[int] = set()
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        schema = waiting.pop()
        if id(schema) in seen:
            continue
        seen.add(id(schema))
        if is_marked(schema):
            marked.add(id(schema))
        marked.update(_marked_in([*unknown_in(schema)]))
        for part in (*parts_of(schema), *targets_of(root, schema)):
            above[id(part.schema)].append(id(schema))
            waiting.append(part.schema)
    leading = set(marked)
    rising = list(marked)
    while rising:
        new = set(above[rising.pop()]) - leading
        leading |= new
        rising.extend(new)
    return marked, leading
