"""The host's Alembic environment: ``ACME_ENV`` picks one of the ways in which hosts write theirs."""

import contextlib
import os

import sqlalchemy as sa
from alembic import context
from sqlmodel import SQLModel

from tests.migration.host_apps.acme import models  # noqa: F401
from tierwright.migrations import autogenerate_filters, migration_session

if os.environ.get("ACME_LINKED"):
    from tests.migration.host_apps.acme import linked  # noqa: F401

engine = sa.create_engine(os.environ["ACME_URL"], poolclass=sa.NullPool)
if os.environ.get("ACME_FOREIGN_KEYS") and engine.dialect.name == "sqlite":
    sa.event.listen(engine, "connect", lambda driver, _record: driver.execute("PRAGMA foreign_keys=ON"))
kind = os.environ["ACME_ENV"]
filters = {} if kind == "unfiltered" else autogenerate_filters()
settings = {"transaction_per_migration": True} if os.environ.get("ACME_MERGED") else {}
if kind == "session":
    settings["transactional_ddl"] = True

with contextlib.ExitStack() as stack:
    opened = migration_session(engine) if kind == "session" else engine.connect()
    connection = stack.enter_context(opened)
    context.configure(connection=connection, target_metadata=SQLModel.metadata, **filters, **settings)
    with context.begin_transaction():
        context.run_migrations()
