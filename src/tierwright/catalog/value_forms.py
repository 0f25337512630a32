"""The short form of value documents, which people write, and the long one, which everything else knows."""

from __future__ import annotations

from typing import Any

from tierwright.errors import InvalidInput

_PARTS = {"value", "unlimited"}


def long_form(given: Any) -> Any:
    """Return the value document that a short form stands for; anything with ``enabled`` is kept.

    Args:
        given: true or false; a number, text, list or object, which grants that value; or a value document.

    Raises:
        InvalidInput: None, or ``value`` or ``unlimited`` without ``enabled``: nobody can tell what it means.
    """
    if isinstance(given, bool):
        return {"enabled": given}
    if given is None:
        raise InvalidInput("there is no value", remedy="Write true, false, a value, or {enabled: true, value: null}.")
    if isinstance(given, dict):
        if "enabled" in given:
            return given
        if given and given.keys() <= _PARTS:
            raise InvalidInput("'enabled' is missing", remedy="Write enabled: true or enabled: false beside it.")
    return {"enabled": True, "value": given}


def long_default(given: Any, feature_type: Any) -> Any:
    """Return the long form of a registry default, which is complete.

    ``true`` and ``false`` are complete for a feature that is only on or off: what it is worth is true, so that a tier
    which says ``true`` and no more grants true.

    Raises:
        InvalidInput: as :func:`long_form`.
    """
    if isinstance(given, bool) and feature_type == "boolean":
        return {"enabled": given, "value": True}
    return long_form(given)


def short_form(document: dict[str, Any]) -> Any:
    """Return the shortest form that :func:`long_form` reads as ``document``."""
    if document.keys() == {"enabled"}:
        return document["enabled"]
    if document.keys() == {"enabled", "value"} and document["enabled"] is True:
        value = document["value"]
        if isinstance(value, bool) or value is None or (isinstance(value, dict) and _means_more(value)):
            return document
        return value
    return document


def short_default(document: dict[str, Any], feature_type: str) -> Any:
    """Return the shortest form that :func:`long_default` reads as ``document``."""
    if feature_type == "boolean" and document.get("value") is True:
        return document["enabled"]
    return document if document.keys() == {"enabled"} else short_form(document)


def _means_more(value: dict[str, Any]) -> bool:
    """Tell whether a value would be taken for a value document, or for half of one."""
    return "enabled" in value or (bool(value) and value.keys() <= _PARTS)
