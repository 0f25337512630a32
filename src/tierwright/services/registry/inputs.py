"""The arguments of the writes, checked before any SQL."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Annotated, Any, TypeVar
from uuid import UUID

from pydantic import TypeAdapter, create_model

from tierwright.errors import InvalidInput
from tierwright.services.input_errors import typed_input
from tierwright.tables.inputs import FeatureKey, InputSchema, IntegrationKey, Name, ResourceKey, ShortName
from tierwright.types import canonical_tenant_id

InputT = TypeVar("InputT", bound=InputSchema)

_KEYS: dict[str, TypeAdapter[str]] = {
    "feature key": TypeAdapter(FeatureKey),
    "tier key": TypeAdapter(ResourceKey),
    "component key": TypeAdapter(ResourceKey),
    "integration key": TypeAdapter(IntegrationKey),
    "provider": TypeAdapter(ShortName),
    "model id": TypeAdapter(Name),
    "license key": TypeAdapter(Name),
}

_LIKE = {
    "feature key": "Write it like agents.canvas; among fields its name is feature_key.",
    "tier key": "Write it like pro; among fields its name is tier_key.",
}


def tenant_of(tenant: str | int | UUID) -> str:
    """Return the canonical text of a tenant's identifier.

    Raises:
        InvalidInput: this cannot be a tenant.
    """
    return canonical_tenant_id(tenant)


def key_of(what: str, key: Any) -> str:
    """Return a key that its column can hold.

    Args:
        what: ``feature key``, ``tier key`` and so on.
        key: what the caller passed.

    Raises:
        InvalidInput: it does not have the form of such a key.
    """
    if key is None:
        raise InvalidInput(f"The {what} is missing.", remedy=_LIKE.get(what, "Name it."))
    try:
        with typed_input(what):
            return _KEYS[what].validate_python(key, strict=True)
    except InvalidInput as error:
        raise InvalidInput(error.message, remedy=_LIKE.get(what, error.remedy), details=error.details) from None


def keys_of(what: str, keys: Any) -> list[str]:
    """Return the keys in a collection, sorted and without repeats.

    Raises:
        InvalidInput: it is no collection, or one of them does not have the form of such a key.
    """
    if isinstance(keys, str | bytes) or not isinstance(keys, Iterable):
        raise InvalidInput(f"The {what}s are not a list.", remedy="Pass a list.")
    return sorted({key_of(what, key) for key in keys})


def mapping_of(what: str, given: Any) -> Mapping[Any, Any]:
    """Return ``given``, if it is a mapping.

    Raises:
        InvalidInput: it is something else.
    """
    if not isinstance(given, Mapping):
        raise InvalidInput(f"The {what} are a mapping, not a {type(given).__name__}.", remedy="Pass a dict.")
    return given


def validated(schema: type[InputT], given: InputT | Mapping[str, Any], what: str) -> InputT:
    """Return what was given as a checked input, also if it was made by ``model_construct``.

    Raises:
        InvalidInput: a value breaks the contract of its field.
    """
    with typed_input(what):
        return schema.model_validate(dict(given) if isinstance(given, Mapping | InputSchema) else given)


def validated_changes(
    schema: type[InputSchema], changes: Mapping[str, Any], what: str, fixed: Iterable[str]
) -> dict[str, Any]:
    """Return changes of single fields, each checked on its own; fields are checked together once the row is read.

    Args:
        schema: the input schema of the whole row.
        changes: the new values by field.
        what: what is being changed, for the error.
        fixed: fields that a change cannot set.

    Raises:
        InvalidInput: a value breaks the contract of its field, or the field is unknown or fixed.
    """
    if refused := sorted(set(changes) & set(fixed)):
        raise InvalidInput(f"A {what}'s {', '.join(refused)} cannot be changed so.", remedy="Leave it out.")
    with typed_input(what):
        checked = _changes_of(schema).model_validate(dict(changes))
    return {name: getattr(checked, name) for name in changes}


@lru_cache(maxsize=32)
def _changes_of(schema: type[InputSchema]) -> type[InputSchema]:
    """Return a schema with the same fields, none of which is needed, and without rules that span several."""
    fields: dict[str, Any] = {
        name: (Annotated[(field.annotation, *field.metadata)] if field.metadata else field.annotation, None)
        for name, field in schema.model_fields.items()
        if not field.exclude
    }
    return create_model(f"{schema.__name__}Changes", __base__=InputSchema, **fields)
