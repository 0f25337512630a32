"""The seed's four questions as an application asks them."""

from __future__ import annotations

import datetime as dt
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.data import AUDIT_PER_FEATURE, EPOCH, PER_TENANT, YEAR, Sizes, feature_key, tenant_id

_POOL = 600


@dataclass(frozen=True)
class Question:
    """One question.

    Attributes:
        title: what is asked.
        table: where.
        columns: the columns that the question names: without its index, no index leads with one of them.
        index: the seed's index for it.
        sql: the statement, with ``{p}`` for a parameter and ``{true}`` for a condition on a flag.
        draw: makes one set of parameters.
    """

    title: str
    table: str
    columns: tuple[str, ...]
    index: str
    sql: str
    draw: Callable[[random.Random, str, Sizes], tuple[Any, ...]]

    def statement(self, dialect: str, *, table: str = "") -> str:
        """Return the statement for a dialect; ``table`` stands in for the table's name."""
        return self.sql.format(p="?" if dialect == "sqlite" else "%s", table=table or self.table)

    def parameters(self, dialect: str, rows: int) -> list[Any]:
        """Return sets of parameters, the same for each run, that all have answers."""
        source = random.Random(3)
        return [self.draw(source, dialect, sizes_for(rows)) for _ in range(_POOL)]


def sizes_for(rows: int) -> Sizes:
    """Return sizes with ``rows`` rows in each of the four tables."""
    return Sizes(tier_features=rows, models=rows, configs=rows, audit=rows)


def _tier_feature(source: random.Random, dialect: str, sizes: Sizes) -> tuple[Any, ...]:
    tier = f"{source.randrange(sizes.tiers):032x}"
    return (tier, feature_key(source.randrange(sizes.features_per_tier)))


def _audit_span(source: random.Random, dialect: str, sizes: Sizes) -> tuple[Any, ...]:
    """Four months, which hold about 66 entries of a feature: more than the 50 that are asked for."""
    start = EPOCH + source.randrange(YEAR * 2 // 3)
    span = (start, start + YEAR // 3)
    key = feature_key(source.randrange(sizes.audited_features))
    moments = [dt.datetime.fromtimestamp(moment, dt.UTC) for moment in span]
    if dialect == "sqlite":
        return (key, *(f"{moment:%Y-%m-%d %H:%M:%S}.000000" for moment in moments))
    return (key, *moments)


QUESTIONS = (
    Question(
        "value of a feature in a tier",
        "license_tier_features",
        ("license_tier_id", "feature_key"),
        "idx_tier_features_tier_key",
        "SELECT feature_value FROM {table} WHERE license_tier_id = {p} AND feature_key = {p}",
        _tier_feature,
    ),
    Question(
        "models of a feature",
        "model_registry",
        ("feature_key",),
        "idx_model_registry_feature",
        "SELECT id, provider, model_id, model_name, input_price_per_1k FROM {table} WHERE feature_key = {p}",
        lambda source, dialect, sizes: (feature_key(source.randrange(sizes.models // 10)),),
    ),
    Question(
        "active integrations of a tenant",
        "tenant_integration_configs",
        ("tenant_id", "is_enabled"),
        "idx_tenant_integration_active",
        "SELECT integration_key, config, health_status FROM {table} WHERE tenant_id = {p} AND is_enabled = {p}",
        lambda source, dialect, sizes: (tenant_id(source.randrange(sizes.configs // PER_TENANT)), True),
    ),
    Question(
        "latest 50 changes of a feature in a time span",
        "feature_audit_log",
        ("feature_key", "performed_at"),
        "idx_feature_audit_key_time",
        "SELECT action, performed_by, performed_at, reason FROM {table} WHERE feature_key = {p} "
        "AND performed_at >= {p} AND performed_at < {p} ORDER BY performed_at DESC LIMIT 50",
        _audit_span,
    ),
)

assert AUDIT_PER_FEATURE // 3 > 50  # or the last question would have fewer answers than its LIMIT
