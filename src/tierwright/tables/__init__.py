"""The tables, as SQLModel classes in ``SQLModel.metadata``, with a validating input schema beside each."""

from tierwright.tables.audit import AuditInput, FeatureAuditLog
from tierwright.tables.component import ComponentInput, ComponentRegistry
from tierwright.tables.feature import FeatureInput, FeatureRegistry
from tierwright.tables.integration import (
    IntegrationInput,
    IntegrationRegistry,
    TenantIntegrationConfig,
    TenantIntegrationConfigInput,
)
from tierwright.tables.json_rules import check_json, check_value_document
from tierwright.tables.listening import listen_to_mappers, listen_to_rows, listen_to_sessions
from tierwright.tables.model import ModelInput, ModelRegistry
from tierwright.tables.state import TierwrightState
from tierwright.tables.tenant import (
    TenantFeatureOverride,
    TenantFeatureOverrideInput,
    TenantLicense,
    TenantLicenseInput,
)
from tierwright.tables.tier import LicenseTier, LicenseTierFeatures, TierFeatureInput, TierInput

#: Every table in the order of creation, parents before children.
TABLE_NAMES = (
    "feature_registry",
    "license_tier",
    "license_tier_features",
    "tenant_license",
    "tenant_feature_override",
    "model_registry",
    "component_registry",
    "integration_registry",
    "tenant_integration_configs",
    "feature_audit_log",
    "tierwright_state",
)

__all__ = [
    "TABLE_NAMES",
    "AuditInput",
    "ComponentInput",
    "ComponentRegistry",
    "FeatureAuditLog",
    "FeatureInput",
    "FeatureRegistry",
    "IntegrationInput",
    "IntegrationRegistry",
    "LicenseTier",
    "LicenseTierFeatures",
    "ModelInput",
    "ModelRegistry",
    "TenantFeatureOverride",
    "TenantFeatureOverrideInput",
    "TenantIntegrationConfig",
    "TenantIntegrationConfigInput",
    "TenantLicense",
    "TenantLicenseInput",
    "TierFeatureInput",
    "TierInput",
    "TierwrightState",
    "check_json",
    "check_value_document",
]

# Not the history itself, nor the library's own counters: no decision changes with them.
_TOLD_OF = (
    FeatureRegistry,
    LicenseTier,
    LicenseTierFeatures,
    TenantLicense,
    TenantFeatureOverride,
    ModelRegistry,
    ComponentRegistry,
    IntegrationRegistry,
    TenantIntegrationConfig,
)
listen_to_rows(*_TOLD_OF)
listen_to_mappers(*_TOLD_OF)
listen_to_sessions()
