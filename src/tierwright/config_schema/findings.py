"""What is wrong with settings: where, and by which rule of the schema, and never what they contain."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tierwright.config_schema.keywords import targets_of
from tierwright.config_schema.pointers import SecretPath, pointer_of, shown
from tierwright.resolution.values import guarded, validator_of

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_MOST = 20


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One rule that a document breaks.

    Attributes:
        place: where, as a JSON Pointer; empty is the document itself. It ends at a secret, and keys that do not look
            like names are ``*``.
        keyword: the rule's keyword in the schema, such as ``required``.
    """

    place: str
    keyword: str

    def __str__(self) -> str:
        return f"{self.keyword} at {self.place or 'the top'}"


@dataclass(frozen=True, slots=True)
class Findings:
    """What is wrong with a document.

    Attributes:
        problems: what must be corrected, at most twenty.
        missing: pointers of secrets that the schema requires and that are not there.
    """

    problems: tuple[Problem, ...] = ()
    missing: tuple[str, ...] = ()


class Checker:
    """Checks documents against one schema.

    Args:
        root: the schema, checked.
        secrets: the places of its secrets.
    """

    def __init__(self, root: dict[str, Any], secrets: frozenset[SecretPath]) -> None:
        self._root = root
        self._secrets = secrets
        self._validator: Draft202012Validator = validator_of(root)

    def check(self, document: Mapping[str, Any], assumed: Collection[SecretPath]) -> Findings:
        """Return what is wrong with a document whose assumed secrets hold anything.

        Raises:
            InvalidInput: the schema runs in a circle.
        """
        found: Findings = guarded("config_schema", lambda: self._check(document, frozenset(assumed)))
        return found

    def _check(self, document: Mapping[str, Any], assumed: frozenset[SecretPath]) -> Findings:
        schema = self._accepting(self._root, (), assumed)
        problems: set[Problem] = set()
        missing: set[str] = set()
        # The references in what was changed still lead into the schema as it was.
        for error in self._validator.evolve(schema=schema).iter_errors(dict(document)):
            lost = self._missing(error)
            if lost:
                missing |= lost  # however many: they must not stand before what is wrong
            else:
                problems.add(Problem(shown(tuple(error.absolute_path), self._secrets), error.validator or "false"))
            if len(problems) == _MOST:
                break
        return Findings(tuple(sorted(problems)), tuple(sorted(missing)))

    def _accepting(self, schema: Any, path: SecretPath, assumed: frozenset[SecretPath]) -> Any:
        """Return a schema that takes anything for the assumed secrets."""
        if path in assumed:
            return True
        if not isinstance(schema, dict) or not any(secret[: len(path)] == path for secret in assumed):
            return schema
        made = dict(schema)
        if "properties" in schema:
            made["properties"] = {
                name: self._accepting(child, (*path, name), assumed) for name, child in schema["properties"].items()
            }
        for target in targets_of(self._root, schema):
            if target.keyword == "$ref" and target.schema is not schema:
                del made["$ref"]
                made["allOf"] = [*schema.get("allOf", ()), self._accepting(target.schema, path, assumed)]
        return made

    def _missing(self, error: ValidationError) -> set[str]:
        """Return the secrets without which an error comes; empty where something else is wrong too."""
        path = tuple(error.absolute_path)
        lost: set[Any] = set()
        if error.validator == "required":
            lost = set(error.validator_value) - error.instance.keys()
        elif error.validator == "dependentRequired":
            asked = [each for name, each in error.validator_value.items() if name in error.instance]
            lost = {name for each in asked for name in each} - error.instance.keys()
        elif error.validator in ("anyOf", "oneOf"):
            return next(self._missing_in_branches(error), set())
        places = {(*path, name) for name in lost}
        return {pointer_of(place) for place in places} if places <= self._secrets else set()

    def _missing_in_branches(self, error: ValidationError) -> Iterator[set[str]]:
        """Yield, for each alternative that would hold if only secrets were there, which ones."""
        branches: dict[Any, list[set[str]]] = {}
        for each in error.context or ():
            branches.setdefault(each.relative_schema_path[0], []).append(self._missing(each))
        for lost in branches.values():
            if all(lost):
                yield set().union(*lost)
