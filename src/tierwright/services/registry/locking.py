"""A write locks before it reads, so that what it validated still holds when it writes.

The catalogue has one lock: its row in ``tierwright_state``. A tenant has its own, and touches no row that others share.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.services.audit import Journal
from tierwright.services.registry.integrity import typed_writes
from tierwright.services.statements import CATALOG_KEY, STATE
from tierwright.tables import TierwrightState
from tierwright.types import utc_now


@contextmanager
def catalogue_write(journal: Journal) -> Iterator[None]:
    """Hold the catalogue's lock, and give the catalogue a new version if the journal has entries at the end.

    Raises:
        RetryTransaction, WriteRefused: the database refused what was written.
    """
    with typed_writes():
        _lock_catalogue(connection_of(journal.session))
        journal.session.flush()  # what the host has pending belongs to what is validated
        yield
        if journal.entries:
            _new_version(journal.session)
        journal.session.flush()


@contextmanager
def tenant_write(journal: Journal, tenant_id: str) -> Iterator[None]:
    """Hold the lock of one tenant.

    Raises:
        RetryTransaction, WriteRefused: the database refused what was written.
    """
    with typed_writes():
        _lock_tenant(connection_of(journal.session), tenant_id)
        journal.session.flush()
        yield
        journal.session.flush()


def connection_of(session: Session) -> Connection:
    """Return the connection on which the session writes our tables (it may have several databases)."""
    return session.connection(bind_arguments={"mapper": sa.inspect(TierwrightState)})


def _lock_catalogue(connection: Connection) -> None:
    """Take the lock with a write that changes nothing: a refused or empty write leaves the version as it was."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(STATE).values(key=CATALOG_KEY, version=0)
    connection.execute(statement.on_conflict_do_update(index_elements=[STATE.c.key], set_={"version": STATE.c.version}))


def _new_version(session: Session) -> None:
    # The token tells two histories apart that reached the same number, as after a restore.
    value = {"token": secrets.token_hex(8), "changed_at": utc_now().isoformat()}
    statement = sa.update(STATE).where(STATE.c.key == CATALOG_KEY)
    session.execute(statement.values(version=STATE.c.version + 1, value=value))


def _lock_tenant(connection: Connection, tenant_id: str) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_tenant_hash(tenant_id))))
    else:
        # Matches no row, and takes the file's write lock all the same.
        connection.execute(sa.delete(STATE).where(STATE.c.key == ""))


def _tenant_hash(tenant_id: str) -> sa.ColumnElement[int]:
    # Tenants whose hashes meet wait for each other, which does no harm.
    schema = sa.cast(sa.func.current_schema(), sa.Text())
    name = schema.concat(sa.literal(f":tierwright:tenant:{tenant_id}", sa.Text()))
    return sa.func.hashtextextended(name, sa.literal(0, sa.BigInteger()))
