"""Moving secrets to another key: all of them, none lost, whatever happens meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.migration.support import plain_engine, processes
from tests.support.integrations import CONFIGS, KEY_1, KEY_2, offer, service
from tests.support.registry import history
from tierwright.errors import DecryptionFailed, EnvelopeInvalid, InvalidInput, SecretsNotConfigured
from tierwright.integrations.sealing import seal_secrets
from tierwright.migrations import upgrade
from tierwright.rotation import canary, count_keys, rotate, verify_keys
from tierwright.secrets import Binding, Hidden, KeyRing
from tierwright.services.statements import STATE
from tierwright.services.transactions import run_in_transaction

OLD = KeyRing({"k1": KEY_1}, "k1")
BOTH = KeyRing({"k2": KEY_2, "k1": KEY_1}, "k2")
NEW = KeyRing({"k2": KEY_2}, "k2")


def fill(engine: Engine, rows: int, keys: KeyRing = OLD) -> None:
    """Write so many tenants' secrets, each its own."""
    offer(engine)
    values = [
        {
            "integration_key": "slack",
            "tenant_id": f"t{number:05}",
            "config": {"channel": "#a"},
            "encrypted_config": seal_secrets(
                Hidden({"/bot_token": f"secret {number}"}), keys, Binding.of_config(f"t{number:05}", "slack", 1)
            ),
            "secret_version": 1,
        }
        for number in range(rows)
    ]
    with engine.begin() as connection:
        connection.execute(sa.insert(CONFIGS), values)


def rows_of(engine: Engine) -> dict[str, Any]:
    with engine.connect() as connection:
        return {row.tenant_id: row for row in connection.execute(sa.select(CONFIGS))}


def counted(engine: Engine) -> dict[str, int]:
    with engine.connect() as connection:
        found = count_keys(connection)
        return {**found.rows, **({"unreadable": found.unreadable} if found.unreadable else {})}


def opened(engine: Engine, keys: KeyRing, tenant: str) -> Any:
    with Session(engine) as session:
        return service(session, keys).reveal(tenant, "slack")["bot_token"]


@pytest.mark.parametrize("rewrap_only", [False, True])
def test_every_secret_moves_and_nothing_else_changes(migrated_engine: Engine, rewrap_only: bool) -> None:
    fill(migrated_engine, 7)
    before = rows_of(migrated_engine)
    dry = rotate(migrated_engine, BOTH, rewrap_only=rewrap_only, dry_run=True, batch_size=3)
    assert (dry.found, dry.rotated, dry.current, dry.ok) == (7, 7, 0, True)
    assert rows_of(migrated_engine) == before
    seen: list[int] = []
    report = rotate(migrated_engine, BOTH, rewrap_only=rewrap_only, batch_size=3, progress=seen.append)
    assert (report.key_id, report.found, report.rotated, report.current, report.ok) == ("k2", 7, 7, 0, True)
    assert seen[:3] == [3, 6, 7]
    assert counted(migrated_engine) == {"k2": 7}
    for tenant, row in rows_of(migrated_engine).items():
        changed = {name for name, value in row._mapping.items() if value != before[tenant]._mapping[name]}
        assert changed == {"encrypted_config"}
        assert (row.encrypted_config[-24:] == before[tenant].encrypted_config[-24:]) is rewrap_only
        assert opened(migrated_engine, NEW, tenant) == f"secret {int(tenant[1:])}"
    again = rotate(migrated_engine, BOTH, rewrap_only=rewrap_only)
    assert (again.found, again.rotated, again.current, again.ok) == (7, 0, 7, True)


def test_each_batch_is_in_the_history(migrated_engine: Engine) -> None:
    fill(migrated_engine, 5)
    rotate(migrated_engine, BOTH, batch_size=2, actor="ops")
    with Session(migrated_engine) as session:
        entries = [entry for entry in history(session) if entry[2] == "rotated"]
    assert sorted(entry[4]["rows"] for entry in entries) == [1, 2, 2]
    assert {(entry[0], entry[1], entry[4]["key_id"]) for entry in entries} == {("tenant_integration", "*", "k2")}


def test_what_cannot_be_moved_stays_and_is_told(migrated_engine: Engine) -> None:
    fill(migrated_engine, 4)
    with migrated_engine.begin() as connection:
        for tenant, envelope in (("t00001", b"plain text"), ("t00002", rows_of(migrated_engine)["t00003"][3])):
            connection.execute(
                sa.update(CONFIGS).where(CONFIGS.c.tenant_id == tenant).values(encrypted_config=envelope)
            )
    before = rows_of(migrated_engine)
    report = rotate(migrated_engine, BOTH)
    assert dict(report.failed) == {"envelope-invalid": 1, "decryption-failed": 1}
    assert (report.rotated, report.ok) == (2, False)
    assert sorted(report.examples) == [
        ("slack", "t00001", "envelope-invalid"),
        ("slack", "t00002", "decryption-failed"),
    ]
    after = rows_of(migrated_engine)
    assert [after[tenant] for tenant in ("t00001", "t00002")] == [before[tenant] for tenant in ("t00001", "t00002")]
    assert counted(migrated_engine) == {"k2": 2, "k1": 1, "unreadable": 1}


def test_a_key_that_is_missing_moves_nothing(migrated_engine: Engine) -> None:
    fill(migrated_engine, 3)
    before = rows_of(migrated_engine)
    report = rotate(migrated_engine, NEW)
    assert (dict(report.failed), report.rotated, report.ok) == ({"unknown-key-id": 3}, 0, False)

    class Silent:
        active_key_id = "k9"

        def wrap(self, key_id: str, data_key: bytes, context: Any) -> bytes:
            raise RuntimeError

        def unwrap(self, key_id: str, wrapped: bytes, context: Any) -> bytes:
            return OLD.unwrap(key_id, wrapped, context)

    with pytest.raises(SecretsNotConfigured):
        rotate(migrated_engine, Silent())
    with pytest.raises(InvalidInput):
        rotate(migrated_engine, BOTH, batch_size=0)
    assert rows_of(migrated_engine) == before


def test_a_secret_that_is_written_meanwhile_is_not_overwritten(migrated_engine: Engine) -> None:
    fill(migrated_engine, 3)
    ring = Interfering(lambda: write(migrated_engine, "t00001", "newer", OLD))
    report = rotate(migrated_engine, ring)  # type: ignore[arg-type]
    assert report.ok
    assert counted(migrated_engine) == {"k2": 3}
    assert opened(migrated_engine, NEW, "t00001") == "newer"


class Interfering:
    """The ring of both keys, during whose first wrapping somebody else does something."""

    active_key_id = "k2"

    def __init__(self, interfere: Callable[[], None]) -> None:
        self._pending: list[Callable[[], None]] = [interfere]

    def wrap(self, key_id: str, data_key: bytes, context: Any) -> bytes:
        while self._pending:
            self._pending.pop()()
        return BOTH.wrap(key_id, data_key, context)

    def unwrap(self, key_id: str, wrapped: bytes, context: Any) -> bytes:
        return BOTH.unwrap(key_id, wrapped, context)


def write(engine: Engine, tenant: str, secret: str, keys: KeyRing) -> None:
    def configure(session: Session) -> None:
        service(session, keys).configure(tenant, "slack", {"channel": "#a", "bot_token": secret})

    run_in_transaction(lambda: Session(engine), configure, attempts=50)


# --- the canary ------------------------------------------------------------------------------------------------------


def test_a_wrong_key_is_told_when_a_process_starts(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        assert verify_keys(session, OLD, create=False).unknown
        assert verify_keys(session, OLD).created
        session.commit()
    with Session(migrated_engine) as session:
        assert verify_keys(session, OLD).verified == ("k1",)
        grown = verify_keys(session, BOTH)
        assert (grown.created, grown.verified) == (True, ("k1", "k2"))
        session.commit()
    for ring in (KeyRing({"k1": KEY_2}, "k1"), KeyRing({"k2": KEY_2, "k1": b"3" * 32}, "k2")):
        with Session(migrated_engine) as session, pytest.raises(DecryptionFailed, match="k1"):
            verify_keys(session, ring)
    with migrated_engine.begin() as connection:
        connection.execute(sa.update(STATE).where(STATE.c.key == "secrets_canary").values(value={"k1": "!"}))
    with Session(migrated_engine) as session, pytest.raises(Exception, match="damaged"):
        verify_keys(session, OLD)


def test_a_canary_is_not_made_for_a_key_that_opens_no_secret_under_its_id(migrated_engine: Engine) -> None:
    fill(migrated_engine, 3)
    with Session(migrated_engine) as session, pytest.raises(DecryptionFailed, match="k1"):
        verify_keys(session, KeyRing({"k1": KEY_2}, "k1"))
    with migrated_engine.begin() as connection:  # one that was damaged proves nothing about the key
        sealed = rows_of(migrated_engine)["t00000"].encrypted_config
        damaged = sealed[:-1] + bytes([sealed[-1] ^ 1])
        connection.execute(sa.update(CONFIGS).where(CONFIGS.c.tenant_id == "t00000").values(encrypted_config=damaged))
    with Session(migrated_engine) as session:
        assert verify_keys(session, OLD).created
        session.commit()


class OutOfReach:
    """A key management service behind a broken network."""

    active_key_id = "k1"

    def wrap(self, key_id: str, data_key: bytes, context: Any) -> bytes:
        return OLD.wrap(key_id, data_key, context)

    def unwrap(self, key_id: str, wrapped: bytes, context: Any) -> bytes:
        raise ConnectionError(key_id)


def test_a_key_service_that_is_out_of_reach_is_not_taken_for_a_wrong_key(migrated_engine: Engine) -> None:
    fill(migrated_engine, 1)
    with Session(migrated_engine) as session:
        with pytest.raises(DecryptionFailed, match="ConnectionError"):
            verify_keys(session, OutOfReach())  # while it looks at what is stored
        verify_keys(session, OLD)
        with pytest.raises(DecryptionFailed, match="ConnectionError"):
            verify_keys(session, OutOfReach())


def test_of_two_processes_with_two_keys_of_one_id_the_slower_is_told_at_once(
    postgresql_engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(postgresql_engine)

    def meanwhile(*_arguments: object) -> None:  # on SQLite the first holds the lock by now
        with Session(postgresql_engine) as session:
            monkeypatch.undo()
            assert verify_keys(session, OLD).created
            session.commit()

    monkeypatch.setattr(canary, "_check_rows", meanwhile)
    with Session(postgresql_engine) as session, pytest.raises(DecryptionFailed, match="k1"):
        verify_keys(session, KeyRing({"k1": KEY_2}, "k1"))


def test_what_is_text_in_a_column_of_bytes_is_counted_and_left_alone(tmp_path: Path) -> None:
    engine = plain_engine(f"sqlite:///{tmp_path / 'a.sqlite3'}")
    upgrade(engine)
    fill(engine, 4)
    with engine.begin() as connection:
        for tenant, value in (("t00000", "'text'"), ("t00001", "7"), ("t00002", "CAST(x'ff00' AS TEXT)")):
            connection.exec_driver_sql(
                f"UPDATE tenant_integration_configs SET encrypted_config = {value} WHERE tenant_id = '{tenant}'"
            )
    assert counted(engine) == {"k1": 1, "unreadable": 3}
    report = rotate(engine, BOTH)
    assert (report.found, report.rotated, report.failed, report.ok) == (4, 1, {"envelope-invalid": 3}, False)
    with Session(engine) as session:
        calls = service(session)
        for tenant in ("t00000", "t00001", "t00002"):
            assert calls.get(tenant, "slack").secret_names is None
            with pytest.raises(EnvelopeInvalid):
                calls.reveal(tenant, "slack")


# --- killed, and written by others at the same time ------------------------------------------------------------------

ROWS, KILLS, WRITERS = 5000, 20, 4


@pytest.mark.parametrize("database_kind", ["sqlite", "pg18"], indirect=True)
def test_killed_twenty_times_beside_four_writers_it_loses_nothing(migrated_url: str) -> None:
    engine = plain_engine(migrated_url)
    fill(engine, ROWS)
    context = processes()
    stop = context.Event()
    pipes = [context.Pipe(duplex=False) for _ in range(WRITERS)]
    writers = [
        context.Process(target=_write_on, args=(migrated_url, number, stop, sender))
        for number, (_, sender) in enumerate(pipes)
    ]
    for writer in writers:
        writer.start()
    killed = 0
    while killed < KILLS:
        receiver, sender = context.Pipe(duplex=False)
        rotator = context.Process(target=_rotate, args=(migrated_url, sender))
        rotator.start()
        for _ in range(random.randint(1, 3)):
            assert receiver.poll(60)
            receiver.recv()
        time.sleep(random.uniform(0, 0.01))
        rotator.kill()
        rotator.join()
        killed += 1
    assert 0 < counted(engine).get("k1", 0) < ROWS, "it was killed in the middle"
    stop.set()
    newest = dict(item for receiver, _ in pipes for item in receiver.recv().items())
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    report = rotate(engine, BOTH)
    assert report.ok
    assert counted(engine) == {"k2": ROWS}
    assert len(newest) > WRITERS
    expected = {f"t{number:05}": f"secret {number}" for number in range(ROWS)} | newest
    with Session(engine) as session:
        calls = service(session, NEW)
        sample = [*newest, *random.sample(sorted(expected), 300)]
        assert {tenant: calls.reveal(tenant, "slack")["bot_token"] for tenant in sample} == {
            tenant: expected[tenant] for tenant in sample
        }
    _all_open(engine, expected)


def _all_open(engine: Engine, expected: dict[str, str]) -> None:
    """Check every row, past the service."""
    from tierwright.integrations.sealing import open_secrets

    for tenant, row in rows_of(engine).items():
        secrets = open_secrets(row.encrypted_config, NEW, Binding.of_config(tenant, "slack", row.secret_version))
        assert secrets["bot_token"] == expected[tenant]


def _rotate(url: str, sender: Any) -> None:
    rotate(plain_engine(url), BOTH, batch_size=40, progress=sender.send)


def _write_on(url: str, number: int, stop: Any, sender: Any) -> None:
    engine = plain_engine(url)
    newest: dict[str, str] = {}
    count = 0
    while not stop.is_set():
        tenant = f"t{random.randrange(number, ROWS, WRITERS):05}"
        count += 1
        write(engine, tenant, f"writer {number} {count}", BOTH)
        newest[tenant] = f"writer {number} {count}"
        time.sleep(0.02)
    sender.send(newest)


def test_a_key_service_that_goes_down_is_not_asked_for_every_row(migrated_engine: Engine) -> None:
    fill(migrated_engine, 100)
    asked: list[str] = []

    class Service:
        """Answers for 30 rows."""

        active_key_id = "k2"

        def wrap(self, key_id: str, data_key: bytes, context: Any) -> bytes:
            return BOTH.wrap(key_id, data_key, context)

        def unwrap(self, key_id: str, wrapped: bytes, context: Any) -> bytes:
            asked.append(key_id)
            if len([each for each in asked if each == "k1"]) > 30:
                raise ConnectionError("the service is down")
            return BOTH.unwrap(key_id, wrapped, context)

    with pytest.raises(DecryptionFailed, match="20 rows") as failure:
        rotate(migrated_engine, Service(), batch_size=10)
    assert failure.value.details["cause"] == "ConnectionError"
    assert asked.count("k1") == 50
    assert counted(migrated_engine) == {"k1": 70, "k2": 30}
    assert rotate(migrated_engine, BOTH, batch_size=10).rotated == 70
    assert counted(migrated_engine) == {"k2": 100}
