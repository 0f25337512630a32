"""The four questions, as SQLAlchemy Core on the table classes: statement, index that must serve it, answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlmodel import SQLModel, col

from tierwright.tables import FeatureAuditLog, LicenseTier, LicenseTierFeatures, ModelRegistry, TenantIntegrationConfig

_TIER, _LIMIT = "pro", "agents.active_limit"
_PROVIDER, _TENANT, _HISTORY = "models.anthropic", "acme-robotics", "integrations.slack"


@dataclass(frozen=True)
class Question:
    """One of the four questions.

    Attributes:
        text: the question in words.
        table: the class that is asked.
        index: the index that must serve it.
        statement: the question in SQL.
    """

    text: str
    table: type[SQLModel]
    index: str
    statement: Any  # an sa.Select, which takes other type parameters in SQLAlchemy 2.0 than in 2.1


@dataclass(frozen=True)
class Answer:
    """What the database said.

    Attributes:
        question: what it was asked.
        sql: the statement as text to read, with its values in place.
        columns: the names of the columns.
        rows: all rows.
        microseconds: the fastest of ``runs`` runs, from Python and back.
        runs: how often it was run.
        plan: the database's plan, line by line.
        uses_index: whether the plan finds its rows through ``question.index``.
    """

    question: Question
    sql: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Any, ...], ...]
    microseconds: float
    runs: int
    plan: tuple[str, ...]
    uses_index: bool


def questions(connection: Connection, loaded_at: datetime) -> list[Question]:
    """Return the four; the audit question is about the thirty days before ``loaded_at``."""
    tier = sa.select(col(LicenseTier.id)).where(col(LicenseTier.tier_key) == _TIER)
    return [
        _feature_of_tier(connection.execute(tier).scalar_one()),
        _models_of_feature(),
        _integrations_of_tenant(),
        _audit_of_feature(loaded_at - timedelta(days=30), loaded_at),
    ]


def ask(connection: Connection, question: Question, seconds: float = 0.1) -> Answer:
    """Return the answer to ``question``, with its plan, and its time as the best of what fits into ``seconds``."""
    with _overheard(connection) as sent:
        result = connection.execute(question.statement)
        columns, rows = tuple(result.keys()), tuple(tuple(row) for row in result)
    plan = _plan(connection, *sent[0])
    times = list(_timings(lambda: connection.execute(question.statement).all(), seconds))
    found = uses_index(plan, *_parts_of(connection, question.index))
    sql = _readable(question, connection.dialect)
    return Answer(question, sql, columns, rows, min(times), len(times), plan, found)


def uses_index(plan: Sequence[str], *index: str) -> bool:
    """Tell whether a plan of SQLite or PostgreSQL looks rows up in an index, rather than read all of something.

    Args:
        plan: line by line.
        index: its name, and those that it has in partitions.
    """
    text = "\n".join(plan)
    name = f"({'|'.join(index)})"
    named = re.compile(
        rf"SEARCH \S+ USING (COVERING )?INDEX {name} \(|"
        rf"Index (Only )?Scan using {name} on |Bitmap Index Scan on {name}\b"
    )
    looked_up = "SEARCH" in text or "Index Cond:" in text
    return bool(named.search(text)) and looked_up and "Seq Scan" not in text and "SCAN " not in text


def _parts_of(connection: Connection, index: str) -> list[str]:
    """Return an index by its name, and by those that it has in the partitions of its table."""
    if connection.dialect.name == "sqlite":
        return [index]
    parts = (
        "SELECT part.relname FROM pg_inherits JOIN pg_class AS part ON part.oid = inhrelid "
        "WHERE inhparent IN (SELECT oid FROM pg_class WHERE relname = %(index)s)"
    )
    return [index, *connection.exec_driver_sql(parts, {"index": index}).scalars()]


def _feature_of_tier(tier_id: Any) -> Question:
    grant = LicenseTierFeatures
    return Question(
        f"Does the tier {_TIER} have {_LIMIT}?",
        grant,
        "idx_tier_features_tier_key",
        sa.select(col(grant.feature_key), col(grant.feature_value)).where(
            col(grant.license_tier_id) == tier_id, col(grant.feature_key) == _LIMIT
        ),
    )


def _models_of_feature() -> Question:
    model = ModelRegistry
    columns = (model.model_id, model.context_window, model.input_price_per_1k, model.output_price_per_1k)
    return Question(
        f"Which models does {_PROVIDER} unlock?",
        model,
        "idx_model_registry_feature",
        sa.select(*map(col, columns)).where(col(model.feature_key) == _PROVIDER).order_by(col(model.model_id)),
    )


def _integrations_of_tenant() -> Question:
    config = TenantIntegrationConfig
    return Question(
        f"Which integrations are active for {_TENANT}?",
        config,
        "idx_tenant_integration_active",
        sa.select(col(config.integration_key), col(config.health_status), col(config.last_health_check))
        .where(col(config.tenant_id) == _TENANT, col(config.is_enabled) == sa.true())
        .order_by(col(config.integration_key)),
    )


def _audit_of_feature(since: datetime, until: datetime) -> Question:
    log = FeatureAuditLog
    return Question(
        f"What happened to {_HISTORY} in the last thirty days?",
        log,
        "idx_feature_audit_key_time",
        sa.select(col(log.performed_at), col(log.action), col(log.entity_id), col(log.performed_by))
        .where(col(log.feature_key) == _HISTORY, col(log.performed_at) >= since, col(log.performed_at) <= until)
        .order_by(col(log.performed_at).desc())
        .limit(50),
    )


@contextmanager
def _overheard(connection: Connection) -> Iterator[list[tuple[str, Any]]]:
    """Collect statements as the driver gets them: these are the ones to be explained, to the letter."""
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        sent.append((statement, parameters))

    # SQLAlchemy 2.0.20 takes no listener on a connection whose engine has options of its own, such as a schema.
    sa.event.listen(connection.engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        sa.event.remove(connection.engine, "before_cursor_execute", note)


def _plan(connection: Connection, statement: str, parameters: Any) -> tuple[str, ...]:
    explain = "EXPLAIN QUERY PLAN " if connection.dialect.name == "sqlite" else "EXPLAIN (COSTS OFF) "
    rows = connection.exec_driver_sql(explain + statement, parameters)
    return tuple(str(row[-1]) for row in rows)


def _timings(run: Callable[[], object], seconds: float) -> Iterator[float]:
    end = time.perf_counter() + seconds
    while True:
        start = time.perf_counter_ns()
        run()
        yield (time.perf_counter_ns() - start) / 1000
        if time.perf_counter() > end:
            return


def _readable(question: Question, dialect: sa.Dialect) -> str:
    """Return the statement with its values in place; only for people, it is not what runs."""
    text = str(question.statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))
    text = " ".join(text.replace(f"{question.table.__tablename__}.", "").split()).replace(" OFFSET 0", "")
    return re.sub(r" (FROM|WHERE|AND|ORDER BY|LIMIT) ", _on_a_new_line, text)


def _on_a_new_line(clause: re.Match[str]) -> str:
    return f"\n{'  ' if clause[1] == 'AND' else ''}{clause[1]} "
