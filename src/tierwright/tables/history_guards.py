"""The triggers that keep the history as it was recorded; the chain makes them in the revision ``f1a2b3c4d5e6``.

Two commands pass, each within a transaction that says so by the row ``PASS_KEY`` of ``tierwright_state``, which is
deleted before the commit: ``erase`` may put ``ERASED`` in the place of who did something and from where, and
``maintain`` may delete rows from before the row ``FLOOR_KEY``. On PostgreSQL, for members of the role that owns it.
"""

from __future__ import annotations

from typing import Any

from tierwright.tables.guards import add_guard, add_statements

#: What stands in the history in the place of a person.
ERASED = "<erased>"
#: The columns that may be erased.
PERSONAL = ("performed_by", "ip_address", "user_agent")
#: The row that opens a pass: ``{"pass": "erase" or "maintain"}``, on PostgreSQL with ``"transaction"``, its xid8.
PASS_KEY = "audit_pass"  # noqa: S105  no password
#: The row that says how far the history was archived: ``{"below": "2026-01-01 00:00:00.000000"}``, in UTC.
FLOOR_KEY = "audit_floor"

#: What SQLite gives a BEFORE INSERT trigger as the rowid of a row that gets its own only then. An entry that has this
#: one is for the guard the one that each further row would replace (https://www.sqlite.org/lang_createtrigger.html, 2).
NO_ROWID = -1

_TABLE = "feature_audit_log"
NO_UPDATE, _NO_DELETE = f"trg_{_TABLE}_no_update", f"trg_{_TABLE}_no_delete"
NO_REPLACE, _NO_TRUNCATE = f"trg_{_TABLE}_no_replace", f"trg_{_TABLE}_no_truncate"
#: The names under which a database tells that the history was to be changed.
HISTORY_GUARDS = frozenset({NO_UPDATE, _NO_DELETE, NO_REPLACE, _NO_TRUNCATE})

_LASTING = (
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
_STATE = "quote_ident(TG_TABLE_SCHEMA) || '.tierwright_state"
_IS_OPEN = "pass.key = $1 AND pass.value ->> $2 = $3 AND pass.value ->> $4 = pg_current_xact_id()::text"
#: Whoever may write the history and the state cannot let itself pass. Qualified, so that no other schema answers.
_IS_OWNER = (
    "pg_catalog.pg_has_role((SELECT relowner FROM pg_catalog.pg_class WHERE oid OPERATOR(pg_catalog.=) TG_RELID), "
    "'MEMBER')"
)
_REFUSE = (
    "RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = TG_NAME, TABLE = TG_TABLE_NAME, "
    "SCHEMA = TG_TABLE_SCHEMA, MESSAGE = 'The history is only added to: ' || TG_OP || ' on ' || TG_TABLE_NAME || "
    "' was refused.', HINT = 'Add an entry that says what is right.'; END"
)

#: The partition that takes every row until months are made. Triggers of rows it gets by itself.
_FIRST_PARTITION = (
    "CREATE TABLE {prefix}{table}_default PARTITION OF {prefix}{table} DEFAULT",
    "CREATE TRIGGER {name} BEFORE TRUNCATE ON {prefix}{table}_default FOR EACH STATEMENT "
    "EXECUTE FUNCTION {prefix}{name}()",
)


def keep_history(model: Any) -> None:
    """Let ``create_all`` make the triggers with the table of a model, and ``drop_all`` drop their functions."""
    maintained = f"{_open('maintain')} AND {_below_floor()}"
    replaced = (
        "EXISTS (SELECT 1 FROM {table} WHERE id = new.id AND performed_at = new.performed_at) "
        "OR EXISTS (SELECT 1 FROM {table} WHERE _rowid_ = new._rowid_)"
    )
    update = {"sqlite": _sqlite("UPDATE", f"NOT ({_erased()})"), "postgresql": _postgresql("UPDATE", _erasing())}
    delete = {"sqlite": _sqlite("DELETE", f"NOT ({maintained})"), "postgresql": _postgresql("DELETE", _maintaining())}
    add_guard(model, NO_UPDATE, update)
    add_guard(model, _NO_DELETE, delete)
    add_guard(model, NO_REPLACE, {"sqlite": _sqlite("INSERT", replaced)})
    add_guard(model, _NO_TRUNCATE, {"postgresql": _postgresql("TRUNCATE", f"BEGIN {_REFUSE}", "STATEMENT")})
    add_statements(model, "after_create", _NO_TRUNCATE, {"postgresql": _FIRST_PARTITION})


def _sqlite(event: str, refused: str) -> tuple[str]:
    raising = "FAIL" if event == "INSERT" else "ABORT"  # as in the revision f1a2b3c4d5e6, which says why
    return (
        f"CREATE TRIGGER {{prefix}}{{name}} BEFORE {event} ON {{table}} FOR EACH ROW WHEN {refused} "
        f"BEGIN SELECT RAISE({raising}, 'constraint failed: {{name}}'); END",
    )


def _postgresql(event: str, body: str, level: str = "ROW") -> tuple[str, str]:
    return (
        "CREATE OR REPLACE FUNCTION {prefix}{name}() RETURNS trigger LANGUAGE plpgsql AS "
        f"$tierwright${body}$tierwright$",
        f"CREATE TRIGGER {{name}} BEFORE {event} ON {{prefix}}{{table}} FOR EACH {level} "
        "EXECUTE FUNCTION {prefix}{name}()",
    )


def _open(purpose: str) -> str:
    is_it = f"json_extract(value, '$.pass') = '{purpose}'"
    return f"EXISTS (SELECT 1 FROM tierwright_state WHERE key = '{PASS_KEY}' AND {is_it})"


def _erased() -> str:
    kept = [f"new.{column} IS old.{column}" for column in _LASTING]
    erased = [
        f"(new.{column} IS old.{column} OR (old.{column} IS NOT NULL AND new.{column} IS '{ERASED}'))"
        for column in PERSONAL
    ]
    return " AND ".join([_open("erase"), *kept, *erased])


def _below_floor() -> str:
    floor = f"(SELECT json_extract(value, '$.below') FROM tierwright_state WHERE key = '{FLOOR_KEY}')"
    return f"coalesce(substr(old.performed_at || '.000000', 1, 26) < {floor}, 0)"


def _erasing() -> str:
    put_back = " ".join(f"wanted.{column} := old.{column};" for column in PERSONAL)
    erased = " AND ".join(
        f"(new.{column} IS NOT DISTINCT FROM old.{column} OR (old.{column} IS NOT NULL AND new.{column} = '{ERASED}'))"
        for column in PERSONAL
    )
    return (
        f"DECLARE wanted record; is_open boolean; BEGIN wanted := new; {put_back} "
        f"IF {_IS_OWNER} AND wanted OPERATOR(pg_catalog.*=) old AND {erased} THEN "
        f"EXECUTE 'SELECT EXISTS (SELECT FROM ' || {_STATE} AS pass WHERE {_IS_OPEN})' "
        f"INTO is_open USING '{PASS_KEY}', 'pass', 'erase', 'transaction'; "
        f"IF is_open THEN RETURN new; END IF; END IF; {_REFUSE}"
    )


def _maintaining() -> str:
    return (
        f"DECLARE is_open boolean; BEGIN IF {_IS_OWNER} THEN "
        f"EXECUTE 'SELECT EXISTS (SELECT FROM ' || {_STATE} AS pass, ' || {_STATE} AS "
        f"kept WHERE {_IS_OPEN} AND kept.key = $5 AND $7 < (kept.value ->> $6)::timestamp AT TIME ZONE $8)' "
        f"INTO is_open USING '{PASS_KEY}', 'pass', 'maintain', 'transaction', '{FLOOR_KEY}', 'below', "
        f"old.performed_at, 'UTC'; IF is_open THEN RETURN old; END IF; END IF; {_REFUSE}"
    )
