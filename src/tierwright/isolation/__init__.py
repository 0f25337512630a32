"""Row-level security on PostgreSQL: a role of the application sees the rows of one tenant at a time, and no others.

Opt-in and reversible; https://www.postgresql.org/docs/current/ddl-rowsecurity.html
"""

from __future__ import annotations

from tierwright.isolation.findings import isolation_findings
from tierwright.isolation.grants import grants
from tierwright.isolation.state import IsolationState, read_isolation
from tierwright.isolation.switching import disable, disable_sql, enable, enable_sql
from tierwright.services.tenant_scope import tenant_context

__all__ = [
    "IsolationState",
    "disable",
    "disable_sql",
    "enable",
    "enable_sql",
    "grants",
    "isolation_findings",
    "read_isolation",
    "tenant_context",
]
