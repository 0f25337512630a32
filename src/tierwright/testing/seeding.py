"""Writing a document's features, tiers and tenants as rows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session
from sqlmodel import SQLModel

from tierwright.errors import ReferenceUnknown
from tierwright.services.session_state import connection_of
from tierwright.tables import LicenseTierFeatures, TenantLicense, TierwrightState
from tierwright.testing.documents import Document, ParsedDocument, parse
from tierwright.types import utc_now

_FEATURES = SQLModel.metadata.tables["feature_registry"]
_TIERS = SQLModel.metadata.tables["license_tier"]
_STATE = SQLModel.metadata.tables["tierwright_state"]


def seed(session: Session, document: Document, *, now: datetime | None = None) -> None:
    """Write what a document says as rows, and flush; the caller commits.

    Fields are validated as every write validates them. Rules that span rows are not (prerequisites and conflicts
    within a tier, bases in a circle): a test may need what the services refuse. Tiers and features may be in the
    database already; what the document defines must not be. With an ``AsyncSession``:
    ``await session.run_sync(seed, document)``.

    Args:
        session: where to write.
        document: as :mod:`tierwright.testing.documents` describes.
        now: what a timedelta in the document counts from; the present moment by default.

    Raises:
        InvalidInput: the document is not valid.
        ReferenceUnknown: it names a tier that is neither in it nor in the database.
        sqlalchemy.exc.IntegrityError: it names a feature that does not exist, or defines something that exists.
    """
    parsed = parse(document, now)
    if parsed.features or parsed.tiers:
        _bump_catalog(session)
    _write_features(session, parsed)
    tiers = _write_tiers(session, parsed)
    session.add_all(
        TenantLicense(license_tier_id=_id_of(tiers, key), **fields)
        for tenant in parsed.tenants.values()
        for key, fields in tenant.licenses
    )
    session.add_all(override.to_row() for tenant in parsed.tenants.values() for override in tenant.overrides)
    session.flush()


def _write_features(session: Session, parsed: ParsedDocument) -> None:
    """Write features; their lists past the session, which would refuse what a test may need."""
    rows = [feature.to_row() for feature in parsed.features]
    lists = [(row, {"depends_on": row.depends_on, "conflicts_with": row.conflicts_with}) for row in rows]
    for row in rows:
        row.depends_on, row.conflicts_with = [], []
    session.add_all(rows)
    session.flush()
    connection = connection_of(session)
    for row, values in lists:
        if any(values.values()):
            changed = sa.update(_FEATURES).where(_FEATURES.c.feature_key == row.feature_key)
            connection.execute(changed.values(**values, updated_at=_FEATURES.c.updated_at))
            session.expire(row)


def _write_tiers(session: Session, parsed: ParsedDocument) -> dict[str, UUID]:
    """Write tiers and what they say; return the ids of all tiers that there are, by key."""
    session.add_all([tier.row.to_row() for tier in parsed.tiers.values()])
    session.flush()
    found = session.execute(sa.select(_TIERS.c.tier_key, _TIERS.c.id).where(_TIERS.c.deleted_at.is_(None)))
    tiers = {row.tier_key: row.id for row in found}
    for key, tier in parsed.tiers.items():
        if tier.base is not None:  # now that all are there: bases may even run in a circle
            changed = sa.update(_TIERS).where(_TIERS.c.id == tiers[key])
            session.execute(changed.values(base_tier_id=_id_of(tiers, tier.base)))
        session.add_all(
            LicenseTierFeatures(license_tier_id=tiers[key], feature_key=feature, feature_value=value)
            for feature, value in tier.features.items()
        )
    session.flush()
    return tiers


def _bump_catalog(session: Session) -> None:
    """Tell every store that the catalogue is another one, as catalogue writes do."""
    value = {"token": secrets.token_hex(8), "changed_at": utc_now().isoformat()}
    changed = sa.update(_STATE).where(_STATE.c.key == "catalog")
    result: Any = session.execute(changed.values(version=_STATE.c.version + 1, value=value))
    if result.rowcount == 0:
        session.add(TierwrightState(key="catalog", value=value, version=1))
        session.flush()


def _id_of(tiers: Mapping[str, UUID], key: str) -> UUID:
    if key not in tiers:
        raise ReferenceUnknown(f"There is no tier {key}.", remedy="Put it into the document, or seed it before.")
    return tiers[key]
