"""Taking the secrets out of a document, and putting them back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

from tierwright.config_schema.pointers import SecretPath, path_of, pointer_of


class Parts(NamedTuple):
    """A document in two parts.

    Attributes:
        public: the document without its secrets; objects that had some stay, even if nothing else was in them.
        secret: the secrets by JSON Pointer.
    """

    public: dict[str, Any]
    secret: dict[str, Any]

    def __repr__(self) -> str:
        return "<a document in two parts>"


def split(document: Mapping[str, Any], secrets: Collection[SecretPath]) -> Parts:
    """Return the two parts of a document; :func:`merge` makes it whole again.

    Args:
        document: any mapping; what is not on the way to a secret is not looked at.
        secrets: the places of the secrets.
    """
    found: dict[str, Any] = {}
    return Parts(_without(document, secrets, (), found), dict(sorted(found.items())))


def merge(public: Mapping[str, Any], secret: Mapping[str, Any]) -> dict[str, Any]:
    """Return the whole document.

    Args:
        public: the public part; it is not changed.
        secret: the secrets by JSON Pointer. The objects on the way to one are made where they are missing; where the
            public part has something else than an object there, the secret has no place and is left out.
    """
    whole = dict(public)
    for pointer, value in secret.items():
        *way, last = path_of(pointer)
        node = whole
        for key in way:
            child = node.get(key, {})
            if not isinstance(child, dict):
                break
            node[key] = node = dict(child)
        else:
            node[last] = value
    return whole


def _without(
    node: Mapping[str, Any], secrets: Collection[SecretPath], path: SecretPath, found: dict[str, Any]
) -> dict[str, Any]:
    """Return a copy of an object without its secrets, which go to ``found``."""
    kept = {}
    depth = len(path)
    below = [secret for secret in secrets if secret[:depth] == path]
    for key, value in node.items():
        here = (*path, key)
        if here in below:
            found[pointer_of(here)] = value
        elif isinstance(value, dict) and any(secret[: depth + 1] == here for secret in below):
            kept[key] = _without(value, below, here, found)
        else:
            kept[key] = value
    return kept
