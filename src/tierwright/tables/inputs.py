"""The vocabulary of the input schemas: field types that refuse what a column could not keep.

A ``table=True`` class does not validate when it is made, so each table has a schema beside it that does.
"""

from __future__ import annotations

import ipaddress
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints

from tierwright.errors import InvalidInput
from tierwright.tables.json_rules import check_json, check_value_document
from tierwright.types import (
    AuditAction,
    AuditEntity,
    FeatureType,
    canonical_tenant_id,
    exact_decimal,
    text_problem,
    to_utc,
)

MAX_INT32 = 2**31 - 1


def _storable(text: str) -> str:
    if problem := text_problem(text):
        raise ValueError(problem)
    return text


def _trimmed(text: str) -> str:
    if text != text.strip():
        raise ValueError("white space at an end")
    return _storable(text)


def _not_negative(number: Decimal) -> Decimal:
    if number < 0:
        raise ValueError("a price is not negative")
    return number


def _json_object(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a JSON object is needed")
    copy: dict[str, Any] = check_json(value)
    return copy


def _without_repeats(keys: list[str]) -> list[str]:
    if len(set(keys)) != len(keys):
        raise ValueError("a key is named twice")
    copy: list[str] = check_json(keys)  # for its size
    return copy


def _address(text: str) -> str:
    ipaddress.ip_address(text)
    return text


FeatureKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+(\.[a-z0-9_-]+)+$", max_length=255)]
ResourceKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$", max_length=255)]
IntegrationKey = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+(\.[a-z0-9_-]+)*$", max_length=100)]
ModelTypeName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]+$", max_length=50)]
TenantId = Annotated[str, BeforeValidator(canonical_tenant_id)]
Name = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_trimmed)]
ShortName = Annotated[str, StringConstraints(min_length=1, max_length=100), AfterValidator(_trimmed)]
EntityId = Annotated[str, StringConstraints(min_length=1, max_length=600), AfterValidator(_trimmed)]
Prose = Annotated[str, AfterValidator(_storable)]
# Only the web: a link that is shown to people must not be able to carry javascript:.
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$", max_length=2048), AfterValidator(_storable)]
IpAddress = Annotated[str, StringConstraints(max_length=45), AfterValidator(_address)]
Moment = Annotated[datetime, Field(strict=False), AfterValidator(to_utc)]
Day = Annotated[date, Field(strict=False)]
Id = Annotated[UUID, Field(strict=False)]
Price = Annotated[Decimal, BeforeValidator(exact_decimal), AfterValidator(_not_negative)]
Int32 = Annotated[int, Field(ge=-MAX_INT32, le=MAX_INT32)]
Count = Annotated[int, Field(ge=0, le=MAX_INT32)]
JsonObject = Annotated[dict[str, Any], BeforeValidator(_json_object)]
JsonValue = Annotated[Any, AfterValidator(check_json)]
ValueDocument = Annotated[dict[str, Any], BeforeValidator(check_value_document)]
FeatureKeys = Annotated[list[FeatureKey], AfterValidator(_without_repeats)]
TypeOfFeature = Annotated[FeatureType, Field(strict=False)]
EntityOfAudit = Annotated[AuditEntity, Field(strict=False)]
ActionOfAudit = Annotated[AuditAction, Field(strict=False)]


class InputSchema(BaseModel):
    """What every input schema is: strict, frozen, closed to unknown fields.

    Frozen means that a checked value cannot be swapped for an unchecked one before it becomes a row.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)

    def row_values(self) -> dict[str, Any]:
        """Return the column values: copies, with enumerations as plain text, without excluded fields."""
        fields = type(self).model_fields
        return {name: _plain(getattr(self, name)) for name, field in fields.items() if not field.exclude}


def _plain(value: Any) -> Any:
    if isinstance(value, StrEnum):
        return value.value
    return check_json(value) if isinstance(value, dict | list) else value


def check_window(starts_at: datetime | None, expires_at: datetime | None) -> None:
    """Refuse a window that ends before it begins, or at the same moment.

    Raises:
        InvalidInput: both ends are given and not in order.
    """
    if starts_at is not None and expires_at is not None and starts_at >= expires_at:
        raise InvalidInput("starts_at is not before expires_at.", remedy="Swap them, or leave one end open.")
