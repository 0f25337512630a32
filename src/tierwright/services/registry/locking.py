"""A write locks before it reads, so that what it validated still holds when it writes.

The catalogue has one lock: its row in ``tierwright_state``. A tenant has its own, and touches no row that others share.

At READ COMMITTED and SERIALIZABLE that is enough. At REPEATABLE READ on PostgreSQL a tenant's lock is taken after the
transaction's snapshot: of two overrides that exclude each other, written at once, both may land. Decisions then deny
both.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.engine import Connection

from tierwright.services.audit import Journal, write_pending
from tierwright.services.catalog_version import lock_catalog, lock_file, require_transaction
from tierwright.services.registry.integrity import typed_writes
from tierwright.services.session_state import connection_of, new_catalog_version, own_writes
from tierwright.services.statements import LICENSES
from tierwright.services.tenant_scope import CONTEXT, Context, tenant_scope

#: Names the table and reads nothing: from here on nobody can switch row-level security on or off before the write ends.
_NO_LICENSES = sa.select(LICENSES.c.tenant_id).where(sa.literal_column("false"))


def _tenant_hash(tenant_id: sa.ColumnElement[str]) -> sa.ColumnElement[int]:
    # Tenants whose hashes meet wait for each other, which does no harm.
    schema = sa.cast(sa.func.current_schema(), sa.Text())
    name = schema.concat(sa.literal_column("':tierwright:tenant:'", sa.Text())).concat(tenant_id)
    return sa.func.hashtextextended(name, sa.literal(0, sa.BigInteger()))


_LOCK = sa.select(*CONTEXT, sa.func.pg_advisory_xact_lock(_tenant_hash(sa.bindparam("tenant", type_=sa.Text())))).where(
    ~sa.exists(_NO_LICENSES)
)


@contextmanager
def catalogue_write(journal: Journal) -> Iterator[None]:
    """Hold the catalogue's lock, and give the catalogue a new version if the journal has entries at the end.

    Raises:
        RetryTransaction, WriteRefused: the database refused what was written.
    """
    with typed_writes():
        lock_catalog(connection_of(journal.session))
        journal.session.flush()  # what the host has pending belongs to what is validated
        with own_writes(journal.session), _written_or_forgotten(journal):
            yield
            if journal.entries:
                new_catalog_version(journal.session)


@contextmanager
def tenant_write(journal: Journal, tenant_id: str) -> Iterator[None]:
    """Hold the lock of one tenant, and let the transaction work for it where row-level security is on.

    Raises:
        RetryTransaction, WriteRefused: the database refused what was written.
    """
    with typed_writes():
        connection = connection_of(journal.session)
        context = _lock_tenant(connection, tenant_id)
        journal.session.flush()  # what the host has pending may be about the tenant that it works for itself
        with tenant_scope(connection, tenant_id, context), own_writes(journal.session), _written_or_forgotten(journal):
            yield


@contextmanager
def _written_or_forgotten(journal: Journal) -> Iterator[None]:
    """Flush what was written, and its entries; where that fails, the host may go on, and the next flush tells of it."""
    try:
        yield
        journal.session.flush()
        write_pending(journal.session)
    except BaseException:
        journal.forget()
        raise


def lock_tenants(connection: Connection, tenant_ids: Sequence[str]) -> None:
    """Hold the locks of some tenants until the transaction ends.

    Args:
        connection: whose transaction.
        tenant_ids: in an order that is the same for everybody who locks several.
    """
    require_transaction(connection)
    if connection.dialect.name != "postgresql":
        lock_file(connection)
        return
    given = sa.bindparam("tenants", list(tenant_ids), type_=postgresql.ARRAY(sa.Text()))
    tenant: Any = sa.func.unnest(given).column_valued("tenant")
    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_tenant_hash(tenant)))).all()


def _lock_tenant(connection: Connection, tenant_id: str) -> Context | None:
    """Take the lock; return for which tenant the transaction works, which costs no statement of its own."""
    require_transaction(connection)
    if connection.dialect.name == "postgresql":
        return Context(*connection.execute(_LOCK, {"tenant": tenant_id}).one()[: len(CONTEXT)])
    lock_file(connection)
    return None
