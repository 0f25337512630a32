"""A secret is described once, where it is marked.

Settings are also validated without their secrets at hand: a kept secret counts as present and right. That is only true
if nothing else in the schema says what the secret must be. Other parts may say that it must be there (``required``).
"""

from __future__ import annotations

import re
from typing import Any

from tierwright.config_schema.keywords import parts_of, same_value
from tierwright.config_schema.marks import bad_mark
from tierwright.config_schema.pointers import SecretPath

_MOST_STEPS = 10_000


def refuse_repeats(root: dict[str, Any], secrets: frozenset[SecretPath], what: str) -> None:
    """Refuse a schema that describes a secret again, by name or with everything else in its object.

    Raises:
        InvalidInput: it does.
    """
    if secrets:
        _Repeats(root, secrets, what).walk(root, (), (), inside=False)


class _Repeats:
    def __init__(self, root: dict[str, Any], secrets: frozenset[SecretPath], what: str) -> None:
        self._root = root
        self._secrets = secrets
        self._what = what
        self._steps = 0

    def walk(self, schema: dict[str, Any], path: SecretPath, references: tuple[str, ...], *, inside: bool) -> None:
        """Check one schema of the object at a path; ``inside`` says that it applies under a condition or beside."""
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise bad_mark(self._what, "too many schemas apply to objects with secrets")
        if path in self._secrets:
            if inside:
                raise self._again(path)
            return
        names = self._names_below(path)
        if not names:
            return
        self._refuse_sweeping(schema, path, names, inside)
        for part in parts_of(schema):
            if part.keyword == "properties" and part.name in names:
                self.walk(part.schema, (*path, part.name), references, inside=inside)
        for part in same_value(self._root, schema):
            if part.keyword == "$ref":
                if part.name not in references:
                    self.walk(part.schema, path, (*references, part.name), inside=inside)
            elif part.keyword != "$dynamicRef" or part.name not in references:
                self.walk(part.schema, path, (*references, part.name), inside=True)

    def _names_below(self, path: SecretPath) -> set[str]:
        depth = len(path)
        return {secret[depth] for secret in self._secrets if len(secret) > depth and secret[:depth] == path}

    def _refuse_sweeping(self, schema: dict[str, Any], path: SecretPath, names: set[str], inside: bool) -> None:
        """Refuse what describes properties without naming them, or the object as a whole."""
        if "const" in schema or "enum" in schema:
            raise self._again(path)
        for pattern in schema.get("patternProperties", {}):
            if found := sorted(name for name in names if re.search(pattern, name)):
                raise self._again((*path, found[0]))
        unnamed = sorted(names - schema.get("properties", {}).keys())
        if unnamed and schema.get("additionalProperties", True) not in (True, {}):
            raise self._again((*path, unnamed[0]))
        if inside and unnamed and schema.get("unevaluatedProperties", True) not in (True, {}):
            raise self._again((*path, unnamed[0]))

    def _again(self, path: SecretPath) -> Exception:
        return bad_mark(self._what, "a secret is described a second time, apart from its mark,", path)
