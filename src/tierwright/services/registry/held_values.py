"""The values of a feature that tiers and tenants hold."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tierwright.errors import InvalidInput, StillInUse
from tierwright.resolution.values import check_document
from tierwright.services.session_state import connection_of
from tierwright.services.statements import FEATURES, GRANTS, OVERRIDES, TIERS
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.tables import FeatureInput, check_value_document
from tierwright.types import utc_now

_MOST_NAMED = 5


def refuse_unfit_values(session: Session, feature: FeatureInput) -> None:
    """Refuse a new type or schema of a feature while somebody holds a value that it does not allow.

    Args:
        session: the session.
        feature: the feature as it shall be.

    Raises:
        StillInUse: a tier, or an override that has not ended, holds such a value.
        PrivilegeMissing: row-level security hides overrides from the current role.
    """
    require_all_tenants(connection_of(session))
    key = feature.feature_key
    # On PostgreSQL an override that is being written holds a share of this lock: wait for it, then see it.
    session.execute(sa.select(FEATURES.c.feature_key).where(FEATURES.c.feature_key == key).with_for_update())
    grants = sa.select(TIERS.c.tier_key, GRANTS.c.feature_value).join(TIERS, TIERS.c.id == GRANTS.c.license_tier_id)
    ends = OVERRIDES.c.expires_at
    overrides = sa.select(OVERRIDES.c.tenant_id, OVERRIDES.c.feature_value).where(
        OVERRIDES.c.feature_key == key, sa.or_(ends.is_(None), ends > utc_now())
    )
    tiers = unfit(feature, session.execute(grants.where(GRANTS.c.feature_key == key)))
    refuse_held(key, tiers, unfit(feature, session.execute(overrides)))


def refuse_held(feature_key: str, tiers: list[str], tenants: list[str]) -> None:
    """Refuse a new type or schema of a feature while some hold values that it does not allow.

    Raises:
        StillInUse: there are such tiers or tenants.
    """
    if tiers or tenants:
        raise StillInUse(
            f"The new type or schema of {feature_key} does not allow values that are held by "
            f"{_holders(tiers, tenants)}.",
            remedy="Change these values first, or make another feature.",
            details={"feature_key": feature_key, "tiers": tiers, "tenants": tenants},
        )


def unfit(feature: FeatureInput, held: Iterable[Any]) -> list[str]:
    """Return those who hold a value that a feature does not allow, sorted.

    Args:
        feature: the feature.
        held: pairs of a holder and its value document.
    """
    return sorted(holder for holder, document in held if not fits(feature, document))


def fits(feature: FeatureInput, document: Any) -> bool:
    """Tell whether a value document is one that a feature's type and schema allow."""
    try:
        check_document(check_value_document(document, feature.feature_type), feature.value_schema)
    except InvalidInput:
        return False
    return True


def _holders(tiers: list[str], tenants: list[str]) -> str:
    said = [f"the tiers {', '.join(tiers[:_MOST_NAMED])}"] if tiers else []
    if tenants:
        said.append(f"{len(tenants)} tenants, such as {tenants[0]}")
    return " and ".join(said)
