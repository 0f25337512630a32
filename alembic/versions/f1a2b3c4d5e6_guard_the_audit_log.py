"""guard the audit log: what was recorded stays as it is; indexes for the history of a tenant, of an entity, and of all

Revision ID: f1a2b3c4d5e6
Revises: e0f1a2b3c4d5
Create Date: 2026-11-25

A released revision never changes. It imports op, sqlalchemy and the helper layer, never live tables.

Two commands pass, each within a transaction that says so by the row ``audit_pass`` of ``tierwright_state``, which it
deletes before it commits: ``erase`` may put ``<erased>`` in the place of who did something and from where, and
``maintain`` may delete rows from before the row ``audit_floor``. On PostgreSQL the pass names its transaction, and
counts for members of the role that owns the table.
"""

from alembic import op

import tierwright.migrations.operations  # noqa: F401  registers op.ensure, op.discard and the rest
from tierwright.migrations.definitions import Index, Trigger

revision = "f1a2b3c4d5e6"
down_revision = "e0f1a2b3c4d5"
branch_labels = None
depends_on = None

LOG = "feature_audit_log"
PERSONAL = ("performed_by", "ip_address", "user_agent")
LASTING = (
    "id",
    "entity_type",
    "entity_id",
    "tenant_id",
    "feature_key",
    "action",
    "old_value",
    "new_value",
    "performed_at",
    "reason",
    "request_id",
    "_rowid_",
)


def on_sqlite(name: str, event: str, refused: str) -> tuple[str]:
    """Return the trigger that refuses an event under a condition.

    For ABORT, SQLite keeps a copy of every page that a statement writes, which is a third of an INSERT's time. FAIL
    leaves what the statement had inserted until then, and nothing else can be told of an INSERT that is refused.
    """
    raising = "FAIL" if event == "INSERT" else "ABORT"
    return (
        f"CREATE TRIGGER {name} BEFORE {event} ON {LOG} FOR EACH ROW WHEN {refused} "
        f"BEGIN SELECT RAISE({raising}, 'constraint failed: {name}'); END",
    )


def on_postgresql(name: str, event: str, level: str = "ROW") -> tuple[str]:
    """Return the trigger as pg_get_triggerdef writes it."""
    return (f"CREATE TRIGGER {name} BEFORE {event} ON {LOG} FOR EACH {level} EXECUTE FUNCTION {name}()",)


def open_on_sqlite(purpose: str) -> str:
    """Return the condition that the pass is open: to other connections an open one is not visible."""
    return (
        "EXISTS (SELECT 1 FROM tierwright_state WHERE key = 'audit_pass' "
        f"AND json_extract(value, '$.pass') = '{purpose}')"
    )


# The table is named beside the log, whatever the search_path says: a temporary table of its name would come first.
STATE = "quote_ident(TG_TABLE_SCHEMA) || '.tierwright_state"
OPEN_ON_POSTGRESQL = (
    "pass.key = $1 AND pass.value ->> $2 = $3 AND pass.value ->> $4 = pg_current_xact_id()::text"  # of this transaction
)
# Whoever may write the history and the state cannot let itself pass. Qualified, so that no other schema answers.
IS_OWNER = (
    "pg_catalog.pg_has_role((SELECT relowner FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) TG_RELID), "
    "'MEMBER')"
)
REFUSE = (
    "RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME, "
    "SCHEMA = TG_TABLE_SCHEMA, MESSAGE = 'The history is only added to: ' || TG_OP || ' on ' || TG_TABLE_NAME || "
    "' was refused.', HINT = 'Add an entry that says what is right.'; END"
)


def erasing_on_sqlite() -> str:
    """Return the condition that an update does what ``erase`` may do; IS, because NULL must not pass."""
    kept = [f"new.{column} IS old.{column}" for column in LASTING]
    erased = [
        f"(new.{column} IS old.{column} OR (old.{column} IS NOT NULL AND new.{column} IS '<erased>'))"
        for column in PERSONAL
    ]
    return " AND ".join([open_on_sqlite("erase"), *kept, *erased])


def erasing_on_postgresql() -> str:
    """Return the function that lets an update pass which does what ``erase`` may do.

    ``*=`` compares the stored bytes of all columns, also of those that a host added.
    """
    put_back = " ".join(f"wanted.{column} := old.{column};" for column in PERSONAL)
    erased = " AND ".join(
        f"(new.{column} IS NOT DISTINCT FROM old.{column} OR (old.{column} IS NOT NULL AND new.{column} = '<erased>'))"
        for column in PERSONAL
    )
    return (
        f"DECLARE wanted record; is_open boolean; BEGIN wanted := new; {put_back} "
        f"IF {IS_OWNER} AND wanted OPERATOR(pg_catalog.*=) old AND {erased} THEN "
        f"EXECUTE 'SELECT EXISTS (SELECT FROM ' || {STATE} AS pass WHERE {OPEN_ON_POSTGRESQL})' "
        "INTO is_open USING 'audit_pass', 'pass', 'erase', 'transaction'; "
        f"IF is_open THEN RETURN new; END IF; END IF; {REFUSE}"
    )


def below_floor_on_sqlite() -> str:
    """Return the condition that a row is from before the floor; CURRENT_TIMESTAMP writes no fractions of a second."""
    floor = "(SELECT json_extract(value, '$.below') FROM tierwright_state WHERE key = 'audit_floor')"
    return f"coalesce(substr(old.performed_at || '.000000', 1, 26) < {floor}, 0)"


def maintaining_on_postgresql() -> str:
    """Return the function that lets go of a row from before the floor while ``maintain`` is at work."""
    return (
        f"DECLARE is_open boolean; BEGIN IF {IS_OWNER} THEN "
        f"EXECUTE 'SELECT EXISTS (SELECT FROM ' || {STATE} AS pass, ' || {STATE} AS "
        f"kept WHERE {OPEN_ON_POSTGRESQL} AND kept.key = $5 AND $7 < (kept.value ->> $6)::timestamp AT TIME ZONE $8)' "
        "INTO is_open USING 'audit_pass', 'pass', 'maintain', 'transaction', 'audit_floor', 'below', "
        f"old.performed_at, 'UTC'; IF is_open THEN RETURN old; END IF; END IF; {REFUSE}"
    )


NO_UPDATE, NO_DELETE = f"trg_{LOG}_no_update", f"trg_{LOG}_no_delete"
NO_REPLACE, NO_TRUNCATE = f"trg_{LOG}_no_replace", f"trg_{LOG}_no_truncate"

#: What the upgrade adds; the runner surveys it before any pending revision changes anything.
ENSURES = (
    Index("idx_feature_audit_tenant_time", LOG, ("tenant_id", "performed_at DESC")),
    Index("idx_feature_audit_entity_time", LOG, ("entity_type", "entity_id", "performed_at DESC")),
    # By the id too, in which the entries of one import differ: pages of the whole history begin where others ended.
    Index("idx_feature_audit_time", LOG, ("performed_at DESC", "id DESC")),
    Trigger(
        NO_UPDATE,
        LOG,
        {
            "sqlite": on_sqlite(NO_UPDATE, "UPDATE", f"NOT ({erasing_on_sqlite()})"),
            "postgresql": on_postgresql(NO_UPDATE, "UPDATE"),
        },
        body=erasing_on_postgresql(),
    ),
    Trigger(
        NO_DELETE,
        LOG,
        {
            "sqlite": on_sqlite(
                NO_DELETE, "DELETE", f"NOT ({open_on_sqlite('maintain')} AND {below_floor_on_sqlite()})"
            ),
            "postgresql": on_postgresql(NO_DELETE, "DELETE"),
        },
        body=maintaining_on_postgresql(),
    ),
    # SQLite's REPLACE deletes the row in its way without asking BEFORE DELETE: one with its key, or its rowid.
    Trigger(
        NO_REPLACE,
        LOG,
        {
            "sqlite": on_sqlite(
                NO_REPLACE,
                "INSERT",
                f"EXISTS (SELECT 1 FROM {LOG} WHERE id = new.id AND performed_at = new.performed_at) "
                f"OR EXISTS (SELECT 1 FROM {LOG} WHERE _rowid_ = new._rowid_)",
            )
        },
        needs_sole_key=True,
    ),
    # PostgreSQL's TRUNCATE asks no trigger of rows; SQLite has none.
    Trigger(
        NO_TRUNCATE,
        LOG,
        {"postgresql": on_postgresql(NO_TRUNCATE, "TRUNCATE", "STATEMENT")},
        body=f"BEGIN {REFUSE}",
    ),
)


def upgrade() -> None:
    op.survey(*ENSURES)
    op.ensure(*ENSURES)


def downgrade() -> None:
    op.discard(*reversed(ENSURES))
