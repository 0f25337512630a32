"""Who may use what, and why: decisions about the hand-written tenants, one for each kind of answer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from tierwright.services.entitlements import Entitlements
from tierwright.services.explanation import Explanation
from tierwright.types import utc_now

#: What each is about, the tenant, the feature, and in how many days.
ASKED = (
    ("a trial on top of a lower tier", "acme-robotics", "agents.mcp_servers", 0),
    ("the same, after the trial", "acme-robotics", "agents.mcp_servers", 30),
    ("inherited from a base tier", "delta-notaries", "agents.canvas", 0),
    ("a gift for a month", "7C9E6679-7425-40DE-944B-E07FC1F90AE7", "agents.active_limit", 0),
    ("denied by contract", "blue-harbour-clinic", "analytics.prompt_history", 0),
    ("an override, but not what it needs", "delta-notaries", "security.scim", 0),
    ("two that exclude each other", "delta-notaries", "privacy.zero_retention", 0),
    ("no licence at all", "somebody-new", "workspace.projects", 0),
    ("on for everybody", "somebody-new", "prompts.library", 0),
    ("not in the tier", "generated-0001", "voice.studio", 0),
    ("a typing error", "acme-robotics", "agents.canvass", 0),
)


def decide(engine: Engine) -> Iterator[tuple[str, Explanation]]:
    """Yield what each answer is about, and the answer, explained."""
    now = utc_now()
    with Session(engine) as session:
        entitlements = Entitlements(session)
        for about, tenant, feature_key, days in ASKED:
            at = now + timedelta(days=days) if days else None
            yield about, entitlements.explain(tenant, feature_key, at=at)
