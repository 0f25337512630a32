"""The schemas of integrations' settings: which settings are secret, and what is wrong with a document."""

from __future__ import annotations

from tierwright.config_schema.compiled import ConfigSchema, check_config_schema
from tierwright.config_schema.documents import Parts
from tierwright.config_schema.findings import Findings, Problem

__all__ = ["ConfigSchema", "Findings", "Parts", "Problem", "check_config_schema"]
