"""A streaming replica of a PostgreSQL server of the tests, made with the wheel's ``pg_basebackup``."""

from __future__ import annotations

import time
from typing import Any

import psycopg

from tests.support.postgres import PostgresServer

#: A commit is written, and so on its way to the replica, when it returns; what a replica has missed is kept for it.
PRIMARY_SETTINGS = {"synchronous_commit": "on", "wal_keep_size": "256MB", "wal_retrieve_retry_interval": "100ms"}


class ReplicaServer(PostgresServer):
    """A hot standby that streams from a primary; ``with`` makes, starts and stops it.

    Args:
        primary: a running server.
    """

    def __init__(self, primary: PostgresServer) -> None:
        super().__init__(primary.version, **primary.settings)
        self._primary = primary

    def __enter__(self) -> ReplicaServer:
        # Its binaries and its folder belong to the user of the server already.
        self.install = self._primary.install
        self.folder.rmdir()
        self.folder = self._primary.folder / f"replica-{self.port}"
        source = f"host=127.0.0.1 port={self._primary.port} user=postgres"
        options = ("--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync")
        self._primary._run("pg_basebackup", f"--pgdata={self.data}", f"--dbname={source}", *options)
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop("immediate")  # the folder is the primary's to remove

    def pause(self) -> None:
        """Replay nothing from now on; what is replayed already stays visible."""
        self.ask("SELECT pg_wal_replay_pause()")
        self._until("SELECT pg_get_wal_replay_pause_state() = 'paused'")

    def resume(self) -> None:
        """Go on replaying."""
        self.ask("SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Make it a primary on a timeline of its own."""
        self._run("pg_ctl", "-D", str(self.data), "-w", "promote")

    def catch_up(self) -> None:
        """Wait until it has replayed all that the primary has written."""
        with psycopg.connect(_libpq(self._primary), autocommit=True) as connection:
            connection.execute("SELECT pg_logical_emit_message(true, '', '')")  # its commit writes what is left
            [lsn] = connection.execute("SELECT pg_current_wal_flush_lsn()").fetchone() or ("",)
        self._until(f"SELECT pg_last_wal_replay_lsn() >= '{lsn}'")

    def ask(self, statement: str) -> Any:
        """Return the one value that a statement gives."""
        with psycopg.connect(_libpq(self), autocommit=True) as connection:
            return (connection.execute(statement).fetchone() or (None,))[0]

    def _until(self, statement: str) -> None:
        until = time.monotonic() + 10
        while not self.ask(statement):
            assert time.monotonic() < until, statement
            time.sleep(0.005)


def _libpq(server: PostgresServer) -> str:
    return server.url().replace("postgresql+psycopg://", "postgresql://")
