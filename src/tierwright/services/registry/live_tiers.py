"""The tier with a key: several may have it, all but one of them deleted."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.errors import InvalidInput, NotFound, TierDeleted, WriteRefused
from tierwright.services.registry.rows import fetch
from tierwright.services.statements import TIERS
from tierwright.tables import LicenseTier
from tierwright.types import text_problem


class NamedTier(NamedTuple):
    """A tier that somebody has named.

    Attributes:
        id: its identity.
        key: its key.
        is_active: whether it takes new tenants.
        is_deleted: whether it was deleted.
    """

    id: UUID
    key: str
    is_active: bool
    is_deleted: bool


def live_tier(session: Session, tier_key: str, missing: WriteRefused) -> LicenseTier:
    """Return the row of the tier with a key that is not deleted, as the database has it now.

    Args:
        session: the session.
        tier_key: the key.
        missing: the error where no tier has the key.

    Raises:
        TierDeleted: there was one, and it was deleted.
        WriteRefused: there is none.
    """
    row = fetch(session, LicenseTier, tier_key=tier_key, deleted_at=None)
    if row is None:
        raise missing_tier(session, tier_key, missing)
    return row


def missing_tier(session: Session, tier_key: str, missing: WriteRefused) -> WriteRefused:
    """Return the error about a key that no tier has any more, or ``missing`` where none ever had it."""
    was_there = sa.select(TIERS.c.id).where(TIERS.c.tier_key == tier_key).limit(1)
    return missing if session.execute(was_there).first() is None else deleted(tier_key)


def find_tier(
    connection: Connection, tier_key: str, *, is_deleted: bool = False, tier_id: UUID | None = None
) -> NamedTier:
    """Return the tier that somebody means.

    Args:
        connection: where to read.
        tier_key: its key.
        is_deleted: whether a deleted one is meant.
        tier_id: which of several deleted ones.

    Raises:
        NotFound: there is none.
        TierDeleted: a deleted one has the key, and was not asked for.
        InvalidInput: several deleted ones have the key, and no id says which.
    """
    columns = (TIERS.c.id, TIERS.c.tier_key, TIERS.c.is_active, TIERS.c.deleted_at.is_not(None))
    statement = sa.select(*columns).where(TIERS.c.tier_key == tier_key).order_by(TIERS.c.deleted_at)
    every = [] if text_problem(tier_key) else [NamedTier(*row) for row in connection.execute(statement)]
    found = [tier for tier in every if tier.is_deleted == is_deleted and tier_id in (None, tier.id)]
    if not found:
        if every and not is_deleted:
            raise TierDeleted(
                f"The tier {tier_key} was deleted.",
                remedy="Say that the deleted one is meant: --deleted, is_deleted=True.",
                details={"tier_key": tier_key},
            )
        what = "deleted tier" if is_deleted else "tier"
        raise NotFound(f"There is no {what} {tier_key[:255]!r}.", remedy="`tierwright tier list` names them.")
    if len(found) > 1:
        raise InvalidInput(
            f"Several deleted tiers had the key {tier_key}.",
            remedy="Say which by its id: `tierwright tier list --deleted` shows them.",
            details={"ids": [str(tier.id) for tier in found]},
        )
    return found[0]


def deleted(tier_key: str) -> TierDeleted:
    """Return the error about a tier that nobody can get any more."""
    return TierDeleted(
        f"The tier {tier_key} was deleted.",
        remedy="Choose another tier, or bring this one back: `tierwright tier undelete`, Registry.tiers.undelete.",
        details={"tier_key": tier_key},
    )
