"""Rows for our real tables, made inside the database: the same rows on SQLite and PostgreSQL.

They are loaded at the first revision, where fewer indexes slow the load down. Every value is computed from the row's
number ``i``; the key spaces are laid out so that each of the seed's questions has the same number of answers whatever
the size (1 tier feature, 10 models, 7 active integrations, 50 audit rows).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

#: Multiplying by it modulo a power of ten is a permutation: it scatters neighbouring keys over the table.
SCATTER = 7919
EPOCH = 1_767_225_600  # 2026-01-01 UTC
YEAR = 365 * 86_400
INTEGRATIONS = 12
PER_TENANT = 10
AUDIT_PER_FEATURE = 200
_FILL = "x" * 60


@dataclass(frozen=True)
class Sql:
    """How one dialect writes what SQL has no common words for."""

    series: Callable[[int], str]
    ident: Callable[[str], str]
    padded: Callable[[str], str]
    moment: Callable[[str], str]
    json: Callable[[str], str]
    secret: Callable[[str], str]


SQLITE = Sql(
    series=lambda n: (
        f"(WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM c WHERE i < {n - 1}) SELECT i FROM c)"
    ),
    ident=lambda x: f"printf('%032x', {x})",
    padded=lambda x: f"printf('%07d', {x})",
    moment=lambda x: f"datetime({EPOCH} + {x}, 'unixepoch') || '.000000'",
    json=lambda text: text,
    secret=lambda x: f"CAST(printf('%048d', {x}) AS BLOB)",
)
POSTGRESQL = Sql(
    series=lambda n: f"generate_series(0::bigint, {n - 1}) AS g(i)",
    ident=lambda x: f"lpad(to_hex({x}), 32, '0')::uuid",
    padded=lambda x: f"lpad(({x})::text, 7, '0')",
    moment=lambda x: f"to_timestamp({EPOCH} + {x})",
    json=lambda text: f"({text})::jsonb",
    secret=lambda x: f"convert_to(lpad(({x})::text, 48, '0'), 'UTF8')",
)
DIALECTS = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def feature_key(number: int) -> str:
    """Return the key of a feature."""
    return f"area.feature_{number:07d}"


def tenant_id(number: int) -> str:
    """Return the identifier of a tenant."""
    return f"tenant_{number:07d}"


@dataclass(frozen=True)
class Sizes:
    """How many rows each table gets.

    Attributes:
        tier_features, models, configs, audit: rows of the four tables that the seed's questions are about.
        components: rows of ``component_registry``.
        scattered: whether rows that belong together lie apart in the table, as after years of writes.
    """

    tier_features: int
    models: int
    configs: int
    audit: int
    components: int = 1000
    scattered: bool = True
    features: int = field(init=False)
    features_per_tier: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "features_per_tier", min(1000, self.tier_features // 10))
        object.__setattr__(self, "features", max(self.models // 10, self.features_per_tier, self.audited_features))

    @property
    def tiers(self) -> int:
        """How many tiers share the tier features."""
        return self.tier_features // self.features_per_tier

    @property
    def tenants(self) -> int:
        """How many tenants share the configurations."""
        return self.configs // PER_TENANT

    @property
    def audited_features(self) -> int:
        """How many features share the audit log."""
        return self.audit // AUDIT_PER_FEATURE


def statements(dialect: str, sizes: Sizes) -> list[str]:
    """Return the INSERT statements, parents first."""
    sql = DIALECTS[dialect]
    return [
        f"INSERT INTO {table} ({', '.join(columns)}) SELECT {', '.join(columns.values())} FROM {sql.series(rows)}"
        for table, rows, columns in _tables(sql, sizes)
        if rows
    ]


def _tables(sql: Sql, sizes: Sizes) -> list[tuple[str, int, dict[str, str]]]:
    return [
        ("feature_registry", sizes.features, _features(sql)),
        ("license_tier", sizes.tiers, _tiers(sql)),
        ("integration_registry", INTEGRATIONS, _integrations(sql)),
        ("license_tier_features", sizes.tier_features, _tier_features(sql, sizes)),
        ("model_registry", sizes.models, _models(sql, sizes)),
        ("component_registry", sizes.components, _components(sql, sizes)),
        ("tenant_integration_configs", sizes.configs, _configs(sql, sizes)),
        ("feature_audit_log", sizes.audit, _audit(sql, sizes)),
    ]


def _feature(sql: Sql, number: str) -> str:
    return f"'area.feature_' || {sql.padded(number)}"


def _place(sizes: Sizes, rows: int) -> str:
    return f"((i * {SCATTER}) % {rows})" if sizes.scattered else "i"


def _features(sql: Sql) -> dict[str, str]:
    return {
        "id": sql.ident("i"),
        "feature_key": _feature(sql, "i"),
        "feature_name": "'Feature ' || i",
        "category": "'category_' || (i % 20)",
        "feature_type": "'integer'",
        "default_value": sql.json('\'{"enabled": false, "value": 0}\''),
    }


def _tiers(sql: Sql) -> dict[str, str]:
    return {"id": sql.ident("i"), "tier_key": "'tier_' || i", "name": "'Tier ' || i", "rank": "i"}


def _integrations(sql: Sql) -> dict[str, str]:
    return {
        "id": sql.ident("i"),
        "integration_key": "'integration_' || i",
        "integration_name": "'Integration ' || i",
        "category": "'chat'",
        "feature_key": _feature(sql, "i"),
    }


def _tier_features(sql: Sql, sizes: Sizes) -> dict[str, str]:
    place = _place(sizes, sizes.tier_features)
    return {
        "id": sql.ident("i"),
        "license_tier_id": sql.ident(f"{place} / {sizes.features_per_tier}"),
        "feature_key": _feature(sql, f"{place} % {sizes.features_per_tier}"),
        "feature_value": sql.json("'{\"enabled\": true, \"value\": ' || (i % 1000) || '}'"),
    }


def _models(sql: Sql, sizes: Sizes) -> dict[str, str]:
    return {
        "id": sql.ident("i"),
        "provider": "'provider_' || (i % 50)",
        "model_id": "'model-' || i",
        "model_name": "'A model of some family, number ' || i",
        "model_type": "'chat'",
        "max_tokens": "4096",
        "context_window": "128000",
        "input_price_per_1k": "0.0025" if sql is POSTGRESQL else "'0.0025'",
        "feature_key": _feature(sql, f"{_place(sizes, sizes.models)} % {max(1, sizes.models // 10)}"),
    }


def _components(sql: Sql, sizes: Sizes) -> dict[str, str]:
    public = "i % 10 = 0"
    return {
        "id": sql.ident("i"),
        "component_key": "'component_' || i",
        "component_name": "'component_' || i",
        "display_name": "'Component ' || i",
        "category": "'category_' || (i % 20)",
        "feature_key": f"CASE WHEN {public} THEN NULL ELSE {_feature(sql, f'i % {sizes.features}')} END",
    }


def _configs(sql: Sql, sizes: Sizes) -> dict[str, str]:
    place = _place(sizes, sizes.configs)
    health = "CASE i % 20 WHEN 0 THEN 'degraded' WHEN 1 THEN 'unhealthy' WHEN 2 THEN NULL ELSE 'healthy' END"
    config = f'\'{{"channel": "#general", "limit": \' || (i % 1000) || \', "note": "{_FILL}"}}\''
    return {
        "integration_key": f"'integration_' || ({place} % {PER_TENANT})",
        "tenant_id": f"'tenant_' || {sql.padded(f'{place} / {PER_TENANT}')}",
        "config": sql.json(config),
        "encrypted_config": sql.secret("i"),
        "is_enabled": f"({place} % {PER_TENANT} < 7)",
        "health_status": health,
        "created_at": sql.moment("0"),
        "updated_at": sql.moment("0"),
    }


def _audit(sql: Sql, sizes: Sizes) -> dict[str, str]:
    feature = _feature(sql, f"{_place(sizes, sizes.audit)} % {max(1, sizes.audited_features)}")
    return {
        "id": sql.ident("i"),
        "entity_type": "'feature'",
        "entity_id": feature,
        "feature_key": feature,
        "action": "'updated'",
        "old_value": sql.json("'{\"enabled\": true, \"value\": ' || (i % 1000) || '}'"),
        "new_value": sql.json("'{\"enabled\": true, \"value\": ' || (i % 1000 + 1) || '}'"),
        "performed_by": "'user_' || (i % 500)",
        "performed_at": sql.moment(f"(i * {YEAR} / {sizes.audit})"),
        "request_id": "'req-' || i",
        "ip_address": "'10.0.0.' || (i % 250)",
        "user_agent": "'Mozilla/5.0 (X11; Linux x86_64)'",
    }
