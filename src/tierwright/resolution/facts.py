"""What goes into a resolution: the rows of the database as plain, immutable data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

from tierwright.resolution.frozen import freeze


class Missing:
    """The type of :data:`MISSING`."""

    def __repr__(self) -> str:
        return "MISSING"


#: In place of the value of a grant that says nothing about it; None is a value.
MISSING = Missing()


class Grant(NamedTuple):
    """What one row says about a feature.

    Attributes:
        enabled: whether it may be used.
        value: its value, or :data:`MISSING` where the next source is to be asked.
        unlimited: whether there is no limit.
    """

    enabled: bool
    value: Any = MISSING
    unlimited: bool = False

    @classmethod
    def from_document(cls, document: Any) -> Grant:
        """Read ``{"enabled": bool, "value": typed}`` or ``{"enabled": bool, "unlimited": true}``.

        Never raises: the writes refuse other shapes, but rows may have been written past them, and what is not
        plainly enabled is denied.
        """
        if not isinstance(document, dict):
            return cls(False)
        return cls(
            document.get("enabled") is True,
            freeze(document["value"]) if "value" in document else MISSING,
            document.get("unlimited") is True and "value" not in document,
        )


class Feature(NamedTuple):
    """A row of the feature registry.

    Attributes:
        key: its feature key.
        default: the registry default, which has both ``enabled`` and a value.
        is_premium: the default never enables it; any tier may.
        is_active: False is the kill switch.
        depends_on: keys of its prerequisites.
        conflicts_with: keys of the features that it cannot be used beside.
    """

    key: str
    default: Grant
    is_premium: bool = False
    is_active: bool = True
    depends_on: tuple[str, ...] = ()
    conflicts_with: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Tier:
    """A tier with what it says itself about features.

    Attributes:
        id: its identity, as the licences and heirs name it.
        key: its tier key.
        grants: by feature key, without what it inherits.
        rank: the higher wins among a tenant's licences.
        base_id: the tier that it inherits from.
        is_default: for tenants without a valid licence.
        is_active: False is closed: honoured for holders and heirs, but nobody new gets it.
        is_deleted: honoured all the same for those who hold it; another tier may have its key.
    """

    id: Hashable
    key: str
    grants: Mapping[str, Grant]
    rank: int = 0
    base_id: Hashable | None = None
    is_default: bool = False
    is_active: bool = True
    is_deleted: bool = False


class License(NamedTuple):
    """An active licence of a tenant, valid while ``starts_at <= at < expires_at``; None is unbounded."""

    tier_id: Hashable
    starts_at: datetime | None = None
    expires_at: datetime | None = None


class Override(NamedTuple):
    """What one tenant gets of one feature, while ``starts_at <= at < expires_at``; None is unbounded."""

    feature_key: str
    grant: Grant
    starts_at: datetime | None = None
    expires_at: datetime | None = None
