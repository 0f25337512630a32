"""Whether a tenant may use an integration: that it is offered, and that the tenant has all features that it needs."""

from __future__ import annotations

from sqlalchemy.orm import Session

from tierwright.integrations.rows import Integration
from tierwright.resolution.decision import not_found as unknown_feature
from tierwright.services.asking import required
from tierwright.services.entitlements import Entitlements
from tierwright.services.registry.rows import not_found


def refuse_denied(session: Session, integration: Integration, tenant_id: str) -> None:
    """Refuse an integration that a tenant may not use now.

    Args:
        session: whose transaction decides.
        integration: what the registry says of it.
        tenant_id: in its canonical form.

    Raises:
        NotFound: it is retired.
        FeatureDenied: the tenant lacks a feature that it needs.
        EntitlementsUnavailable: nobody can tell.
    """
    if not integration.is_active:
        raise not_found("active integration", integration.key)
    decisions = Entitlements(session).evaluate_all(tenant_id)
    for key in integration.needed_features():
        required(decisions[key] if key in decisions else unknown_feature(key))
