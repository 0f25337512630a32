"""What tenants have configured for integrations: settings in the clear, secrets sealed, and how both are used."""

from __future__ import annotations

from tierwright.integrations.aio import AsyncTenantIntegrations
from tierwright.integrations.records import ConfigResult, Credentials, Secrets, TenantIntegration
from tierwright.integrations.service import TenantIntegrations

__all__ = [
    "AsyncTenantIntegrations",
    "ConfigResult",
    "Credentials",
    "Secrets",
    "TenantIntegration",
    "TenantIntegrations",
]
