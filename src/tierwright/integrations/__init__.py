"""What tenants have configured for integrations: settings in the clear, secrets sealed, and how both are used."""

from __future__ import annotations

from tierwright.integrations.aio import AsyncTenantIntegrations
from tierwright.integrations.health import check_health, check_health_async
from tierwright.integrations.health_probes import Probes, ProbeTarget
from tierwright.integrations.health_report import HealthCheck, HealthReport
from tierwright.integrations.health_rules import Outcome
from tierwright.integrations.records import ConfigResult, Credentials, Secrets, TenantIntegration
from tierwright.integrations.service import TenantIntegrations

__all__ = [
    "AsyncTenantIntegrations",
    "ConfigResult",
    "Credentials",
    "HealthCheck",
    "HealthReport",
    "Outcome",
    "ProbeTarget",
    "Probes",
    "Secrets",
    "TenantIntegration",
    "TenantIntegrations",
    "check_health",
    "check_health_async",
]
