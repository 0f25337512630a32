"""Checks of health where row-level security is on: one tenant as the application, all of them as the admin."""

from __future__ import annotations

import pytest
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.integrations import KEYS, offer, service
from tests.support.isolation import isolated
from tierwright.errors import PrivilegeMissing
from tierwright.integrations import Probes, ProbeTarget, check_health


def test_the_application_checks_the_tenants_that_it_names_and_the_admin_all(postgresql_engine: Engine) -> None:
    asked = []
    probes = Probes()

    @probes.register("slack")
    def probe(target: ProbeTarget) -> None:
        asked.append((target.tenant_id, target.secrets()["bot_token"]))

    with isolated(postgresql_engine) as place:
        owner, app = place.engine(place.owner), place.engine(place.app)
        offer(owner)
        with Session(owner) as session:
            for tenant in ("acme", "globex"):
                service(session).configure(tenant, "slack", {"channel": "#a", "bot_token": f"xoxb-{tenant}"})
                service(session).enable(tenant, "slack")
            session.commit()
        place.enable()
        with pytest.raises(PrivilegeMissing):
            check_health(app, probes, keys=KEYS)
        assert asked == []
        for tenants, found in ((["acme"], {"healthy": 1}), (["globex", "acme", "nobody"], {"healthy": 2})):
            report = check_health(app, probes, keys=KEYS, tenants=tenants)
            assert report.statuses == found
            assert all(check.written for check in report.checks)
        assert sorted(asked) == [("acme", "xoxb-acme")] * 2 + [("globex", "xoxb-globex")]
        report = check_health(owner, probes, keys=KEYS)
        assert [(check.tenant_id, check.before, check.written) for check in report.checks] == [
            ("acme", "healthy", False),
            ("globex", "healthy", True),
        ]
