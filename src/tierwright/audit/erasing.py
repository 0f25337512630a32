"""Taking a person out of the history: the one change that it permits, and one that it records.

Who did something stands in three columns of an entry, and as ``created_by`` where something was made; nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection, Engine
from sqlalchemy.orm import Session, sessionmaker
from sqlmodel import SQLModel

from tierwright.audit.entries import HISTORY
from tierwright.audit.passes import Purpose, history_pass
from tierwright.errors import InvalidInput, PrivilegeMissing
from tierwright.services.audit import AuditContext, write_audit
from tierwright.services.catalog_version import lock_file
from tierwright.services.session_state import connection_of
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.services.transactions import run_in_transaction
from tierwright.tables.history_guards import ERASED
from tierwright.types import AuditAction, AuditEntity, text_problem

_LOG = HISTORY.c
_KEY = (_LOG.performed_at, _LOG.id)
_MADE = tuple(SQLModel.metadata.tables[name] for name in ("feature_registry", "tenant_integration_configs"))
_IS_OWNER = "SELECT pg_has_role((SELECT relowner FROM pg_class WHERE oid = to_regclass('feature_audit_log')), 'MEMBER')"
_BATCH = 1000
_MOST_TEXT = 255


@dataclass(frozen=True, slots=True)
class ErasureReport:
    """What an erasure has done, or would do.

    Attributes:
        rows: by table, how many rows no longer name the person.
    """

    rows: Mapping[str, int]

    @property
    def total(self) -> int:
        """All of them."""
        return sum(self.rows.values())


def erase_person(
    engine: Engine | sessionmaker[Session],
    *,
    actor: str | None = None,
    ip_address: str | None = None,
    by: AuditContext,
    dry_run: bool = False,
) -> ErasureReport:
    """Put ``<erased>`` in the place of a person, a batch in a transaction; safe to stop and to begin again.

    What an actor did stays; who it was, from which address and with which client does not. An address alone may be that
    of several persons: only it and the client are erased, and only where it is named without ``actor``.

    Archives are files, and exports have gone to others: neither is reached from here.

    Args:
        engine: of the owner of the tables, who sees the rows of all tenants; or what makes sessions of it.
        actor: as ``performed_by`` and ``created_by`` have it.
        ip_address: as ``ip_address`` has it.
        by: who erases, and why; the entry about it names nobody else.
        dry_run: count, and change nothing.

    Raises:
        InvalidInput: nobody was named, or ``<erased>``, or ``by`` is the person.
        PrivilegeMissing: row-level security hides rows from the current role, or it does not own the history.
        RetryTransaction: others held the rows for too long; run it again.
    """
    erasure = _Erasure(_checked(actor), _checked(ip_address))
    if (actor is not None and by.actor == actor) or (ip_address is not None and by.ip_address == ip_address):
        raise InvalidInput(
            "Each entry about the erasure would name the person again.",
            remedy="Let somebody else erase, or an office: --actor privacy-office.",
        )
    sessions = engine if isinstance(engine, sessionmaker) else sessionmaker(engine)
    with sessions() as session:
        connection = connection_of(session)
        require_all_tenants(connection)
        counts = {table.name: erasure.count(connection, table) for table in erasure.tables()}
        if dry_run or not any(counts.values()):
            return ErasureReport(MappingProxyType(counts))
        _require_owner(connection)
    done = dict.fromkeys(counts, 0)
    while True:
        moved = run_in_transaction(sessions, lambda session: erasure.batch(session, by))
        for name, rows in moved.items():
            done[name] += rows
        if not any(moved.values()):
            return ErasureReport(MappingProxyType(done))


def _require_owner(connection: Connection) -> None:
    """Refuse what the triggers would refuse, in words."""
    if connection.dialect.name == "postgresql" and connection.exec_driver_sql(_IS_OWNER).scalar_one() is False:
        raise PrivilegeMissing(
            "Only the role that owns the history, and its members, can take a person out of it.",
            remedy="Connect as the owner of feature_audit_log.",
        )


class _Erasure:
    def __init__(self, actor: str | None, ip_address: str | None) -> None:
        if actor is None and ip_address is None:
            raise InvalidInput("Nobody was named.", remedy="Name actor= or ip_address=.")
        self._actor = actor
        self._address = ip_address

    def tables(self) -> tuple[sa.Table, ...]:
        """Return the tables that may name the person."""
        return (HISTORY, *(_MADE if self._actor is not None else ()))

    def count(self, connection: Connection, table: sa.Table) -> int:
        """Return how many rows of a table name the person."""
        statement = sa.select(sa.func.count()).select_from(table).where(self._names(table))
        return int(connection.execute(statement).scalar_one())

    def batch(self, session: Session, by: AuditContext) -> dict[str, int]:
        """Erase the person from some rows of each table, and leave an entry about that."""
        connection = connection_of(session)
        lock_file(connection)
        with history_pass(connection, Purpose.ERASE):
            done = {table.name: self._erase(connection, table) for table in self.tables()}
        if any(done.values()):
            write_audit(session, by, AuditEntity.CATALOG, HISTORY.name, AuditAction.ERASED, new={"rows": done})
        return done

    def _erase(self, connection: Connection, table: sa.Table) -> int:
        key = _KEY if table is HISTORY else tuple(table.primary_key.columns)
        # Within one statement: a row that somebody wrote past this library may have a key that nobody can read.
        some = sa.select(*key).where(self._names(table)).limit(_BATCH).correlate(None)
        values = self._values(table)
        if "updated_at" in table.c:
            values["updated_at"] = table.c.updated_at  # nothing was changed that counts
        statement = sa.update(table).where(sa.tuple_(*key).in_(some)).values(values)
        return int(connection.execute(statement).rowcount)

    def _names(self, table: sa.Table) -> sa.ColumnElement[bool]:
        if table is not HISTORY:
            return table.c.created_by == self._actor
        if self._actor is None:
            return _LOG.ip_address == self._address
        return _LOG.performed_by == self._actor

    def _values(self, table: sa.Table) -> dict[str, Any]:
        names = ["created_by"]
        if table is HISTORY:
            names = (
                ["ip_address", "user_agent"] if self._actor is None else ["performed_by", "ip_address", "user_agent"]
            )
        # What is NULL says nobody, and stays so.
        return {name: sa.case((table.c[name].is_not(None), ERASED)) for name in names}


def _checked(value: str | None) -> str | None:
    if value is not None and (
        not isinstance(value, str) or not value or len(value) > _MOST_TEXT or text_problem(value) or value == ERASED
    ):
        raise InvalidInput("Nobody is called so in the history.", remedy="Name the person as the entries do.")
    return value
