"""The privileges that the roles need, and no more."""

from __future__ import annotations

from collections.abc import Sequence

from tierwright.errors import IsolationRefused
from tierwright.isolation.state import quoted
from tierwright.isolation.switching import ADMIN_ROLE
from tierwright.migrations import VERSION_TABLE
from tierwright.tables import TABLE_NAMES

_READ_BY_APP = (
    "feature_registry",
    "license_tier",
    "license_tier_features",
    "model_registry",
    "component_registry",
    "integration_registry",
    "tierwright_state",
    "tenant_license",
    "tenant_feature_override",
)
_LOG = "feature_audit_log"
_WRITTEN_BY_ADMIN = tuple(name for name in TABLE_NAMES if name != _LOG)


def grants(
    app: Sequence[str],
    *,
    admin: str | None = ADMIN_ROLE,
    schema: str = "public",
    version_table: str = VERSION_TABLE,
) -> str:
    """Return SQL that gives the application's roles what they need, and the admin role what it needs.

    The application may read the catalogue, licences and overrides, write settings of integrations, and add to the
    history. It cannot give a tenant a licence: that is the admin role's, as are the catalogue, plans and rotation.

    Args:
        app: the roles that the application connects as.
        admin: the role for the back office; None leaves it out.
        schema: where the tables are.
        version_table: what ``check`` at start-up, and the commands, read to know the revision.

    Raises:
        IsolationRefused: no role was named.
    """
    if isinstance(app, str) or not app:
        raise IsolationRefused("No role of the application was named.", remedy="Name it: --app ROLE.")
    place = quoted(schema)

    def grant(what: str, tables: Sequence[str], to: str) -> str:
        return f"GRANT {what} ON {', '.join(f'{place}.{quoted(name)}' for name in tables)} TO {to};"

    roles = ", ".join(map(quoted, dict.fromkeys(app)))
    lines = [
        f"GRANT USAGE ON SCHEMA {place} TO {roles};",
        grant("SELECT", (*_READ_BY_APP, version_table), roles),
        grant("SELECT, INSERT, UPDATE, DELETE", ("tenant_integration_configs",), roles),
        grant("SELECT, INSERT", (_LOG,), roles),
    ]
    if admin is not None:
        lines += [
            f"GRANT USAGE ON SCHEMA {place} TO {quoted(admin)};",
            grant("SELECT, INSERT, UPDATE, DELETE", _WRITTEN_BY_ADMIN, quoted(admin)),
            grant("SELECT, INSERT", (_LOG,), quoted(admin)),
            grant("SELECT", (version_table,), quoted(admin)),
        ]
    return "\n".join(lines)
