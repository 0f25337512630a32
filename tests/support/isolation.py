"""PostgreSQL databases whose tables belong to an ordinary role, with roles of an application and of a back office."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.pool import NullPool

from tierwright import isolation, migrations

_PASSWORD = "of the tests"


@dataclass(frozen=True)
class Isolated:
    """A database at head.

    Attributes:
        root: an engine of a superuser.
        schema: where the tables are.
        owner, app, admin: names of roles; ``admin`` has no login.
    """

    root: Engine
    schema: str
    owner: str
    app: str
    admin: str

    def url(self, role: str) -> str:
        """Return the URL for a role that may log in."""
        return self.root.url.set(username=role, password=_PASSWORD).render_as_string(hide_password=False)

    def engine(self, role: str, **options: object) -> Engine:
        """Return an engine of a role, without a pool unless one is asked for."""
        return sa.create_engine(self.url(role), **options or {"poolclass": NullPool})

    def enable(self) -> None:
        """Switch row-level security on, as the owner, and give the roles what they need."""
        isolation.enable(self.url(self.owner), [self.app], admin=self.admin, schema=self.schema)
        self.execute(isolation.grants([self.app], admin=self.admin, schema=self.schema))

    def execute(self, text: str) -> None:
        """Run statements as the superuser."""
        with self.root.begin() as connection:
            for statement in filter(None, (line.strip() for line in text.split(";\n"))):
                connection.exec_driver_sql(statement.rstrip(";"))


@contextmanager
def isolated(root: Engine) -> Iterator[Isolated]:
    """Yield an empty database, migrated by an ordinary role that owns it; its roles are dropped at the end."""
    tag = secrets.token_hex(4)
    with root.connect() as connection:
        schema = str(connection.exec_driver_sql("SELECT current_schema()").scalar_one())
    made = Isolated(root, schema, f"tw_owner_{tag}", f"tw App {tag}", f"tw_admin_{tag}")
    made.execute(
        f"""CREATE ROLE "{made.owner}" LOGIN CREATEROLE PASSWORD '{_PASSWORD}';
        CREATE ROLE "{made.app}" LOGIN PASSWORD '{_PASSWORD}';
        GRANT CREATE, USAGE ON SCHEMA {schema} TO "{made.owner}";
        """
    )
    try:
        migrations.upgrade(made.url(made.owner), schema=schema)
        yield made
    finally:
        with root.begin() as connection:
            for role in (made.app, made.owner, made.admin):
                if connection.exec_driver_sql("SELECT 1 FROM pg_roles WHERE rolname = %s", (role,)).scalar():
                    connection.exec_driver_sql(f'DROP OWNED BY "{role}" CASCADE')
            for role in (made.app, made.admin, made.owner):
                connection.exec_driver_sql(f'DROP ROLE IF EXISTS "{role}"')
