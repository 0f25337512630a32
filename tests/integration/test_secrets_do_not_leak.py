"""A secret is searched for everywhere that it could have gone: found nowhere but where it is revealed."""

from __future__ import annotations

import copy
import io
import logging
import pickle
import traceback
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, SQLModel

from tests.migration.support import pg_dump
from tests.support.integrations import KEY_2, KEYS, SCHEMA, offer, service
from tests.support.registry import writer
from tierwright.errors import InvalidInput, SecretInPlainConfig, TierwrightError
from tierwright.integrations.settings import hidden
from tierwright.secrets import Hidden, KeyRing
from tierwright.tables import TenantIntegrationConfig

SENTINEL = "sentinel-5a1f0c"
DOCUMENT = {"channel": "#alerts", "bot_token": SENTINEL, "oauth": {"client_secret": SENTINEL + "-2"}}


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    """Return a database in which slack can be configured."""
    offer(migrated_engine)
    return migrated_engine


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """Yield everything that is logged, by anybody, at any level."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield stream
    root.removeHandler(handler)
    root.setLevel(level)


def configure(engine: Engine, document: Any = DOCUMENT, keys: Any = KEYS, **options: Any) -> None:
    with Session(engine) as session:
        service(session, keys).configure("acme", "slack", document, **options)
        session.commit()


def walked(value: object) -> str:
    """Return a variable as error trackers send it: mappings, lists and sets item by item, all else by its ``repr``."""
    if isinstance(value, Mapping):
        return walked([*value.items()])
    if isinstance(value, list | tuple | set | frozenset):
        return " ".join(map(walked, value))
    return repr(value)


def told(error: BaseException) -> str:
    """Return a traceback with the variables of every frame that is not of this file, as error trackers send it."""
    found, seen = [], [error]
    while seen:
        each = seen.pop()
        found += [str(each), repr(each), repr(each.args), str(getattr(each, "details", ""))]
        frames = [frame for frame, _ in traceback.walk_tb(each.__traceback__)]
        found += [walked(frame.f_locals) for frame in frames if frame.f_code.co_filename != __file__]
        seen += [follower for follower in (each.__cause__, each.__context__) if follower is not None]
    return "\n".join(found)


def test_neither_logs_nor_the_database_hold_it(engine: Engine, logged: io.StringIO, tmp_path: Path) -> None:
    engine.echo = "debug"
    configure(engine)
    configure(engine, {**DOCUMENT, "bot_token": SENTINEL + "-3"})
    with Session(engine) as session:
        calls = service(session)
        calls.enable("acme", "slack")
        assert calls.reveal("acme", "slack")["bot_token"] == SENTINEL + "-3"
        assert calls.credentials("acme", "slack").secrets["bot_token"] == SENTINEL + "-3"
        session.commit()
    assert "INSERT INTO" in logged.getvalue(), "it listens"
    assert SENTINEL not in logged.getvalue()
    with engine.connect() as connection:
        for table in SQLModel.metadata.sorted_tables:
            if table.info.get("tierwright"):
                assert SENTINEL not in str(connection.execute(sa.select(table)).all()), table.name
    assert b"#alerts" in stored(engine), "it looks into the right files"
    assert SENTINEL.encode() not in stored(engine)
    assert SENTINEL.encode().hex() not in stored(engine).decode("latin-1")


def stored(engine: Engine) -> bytes:
    """Return what somebody has who takes the files: SQLite's with its journals, or a dump."""
    if engine.dialect.name == "sqlite":
        path = Path(engine.url.database or "")
        return b"".join(file.read_bytes() for file in path.parent.glob(path.name + "*"))
    return pg_dump(engine.url.render_as_string(hide_password=False)).encode()


def test_sqlite_s_write_ahead_log_does_not_hold_it(engine: Engine) -> None:
    if engine.dialect.name != "sqlite":
        return  # the dump of the test above is what others get
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA journal_mode=WAL")
        connection.exec_driver_sql("SELECT count(*) FROM feature_registry")  # whoever has read keeps the log alive
        configure(engine)
        assert Path(f"{engine.url.database}-wal").stat().st_size > 0
        assert SENTINEL.encode() not in stored(engine)


FAILING: dict[str, Callable[[Engine], Any]] = {
    "a schema that refuses": lambda engine: configure(engine, {**DOCUMENT, "channel": 7}),
    "a secret that is refused": lambda engine: configure(engine, {**DOCUMENT, "bot_token": [SENTINEL]}),
    "a secret in a list": lambda engine: configure(engine, {**DOCUMENT, "more": [SENTINEL]}),
    "a secret as a key": lambda engine: configure(engine, {**DOCUMENT, "oauth": {"client_secret": {SENTINEL: 1}}}),
    "a secret under another name": lambda engine: configure(engine, {**DOCUMENT, "api_key": SENTINEL}),
    "what JSON does not have": lambda engine: configure(engine, {**DOCUMENT, "bot_token": {SENTINEL}}),
    "a surrogate": lambda engine: configure(engine, {**DOCUMENT, "bot_token": SENTINEL + "\ud800"}),
    "no mapping": lambda engine: configure(engine, [SENTINEL]),
    "another version": lambda engine: configure(engine, expected_version=9),
    "no keys": lambda engine: configure(engine, keys=None),
    "a provider that fails": lambda engine: configure(engine, keys=Careless()),
    "a mapping that fails": lambda engine: configure(engine, Failing(DOCUMENT)),
}


class Careless:
    """A provider whose client fails with everything that it has."""

    active_key_id = "k1"

    def wrap(self, key_id: str, data_key: bytes, context: Any) -> bytes:
        raise RuntimeError(f"{data_key!r} {SENTINEL}")

    unwrap = wrap


class Failing(dict[str, Any]):
    """A mapping of the host's that fails half-way."""

    def items(self) -> Any:
        raise RuntimeError(SENTINEL)


def test_no_error_holds_it(engine: Engine, logged: io.StringIO) -> None:
    engine.echo = "debug"
    for way, fail in FAILING.items():
        with pytest.raises(TierwrightError) as caught:
            fail(engine)
        assert SENTINEL not in told(caught.value), way
        assert SENTINEL not in str(pickle.dumps(caught.value)), way
        assert SENTINEL not in logged.getvalue(), way


def test_what_the_database_refuses_does_not_hold_it(engine: Engine) -> None:
    with engine.begin() as connection:
        if engine.dialect.name == "sqlite":
            connection.exec_driver_sql(
                "CREATE TRIGGER no BEFORE INSERT ON tenant_integration_configs BEGIN SELECT RAISE(ABORT, 'no'); END"
            )
        else:
            connection.exec_driver_sql("ALTER TABLE tenant_integration_configs ADD CHECK (config_version > 1)")
    with pytest.raises((InvalidInput, IntegrityError)) as caught:
        configure(engine)
    assert SENTINEL not in told(caught.value)


def test_what_is_stored_in_the_clear_and_marked_since_is_in_no_error(engine: Engine) -> None:
    configure(engine, {**DOCUMENT, "hook": SENTINEL + "-3"})
    marked = {**SCHEMA, "properties": {**SCHEMA["properties"], "hook": {"type": "string", "writeOnly": True}}}
    with Session(engine) as session:
        writer(session).integrations.change("slack", config_schema=marked)
        with pytest.raises(SecretInPlainConfig, match="/hook") as caught:
            service(session).enable("acme", "slack")
    assert SENTINEL not in told(caught.value)


def test_errors_while_opening_do_not_hold_it(engine: Engine) -> None:
    configure(engine)
    for keys in (KeyRing({"k1": KEY_2}, "k1"), KeyRing({"k2": KEY_2}, "k2"), Careless(), None):
        with Session(engine) as session, pytest.raises(TierwrightError) as caught:
            service(session, keys).reveal("acme", "slack")
        assert SENTINEL not in told(caught.value)


def test_objects_that_carry_it_do_not_show_it(engine: Engine) -> None:
    configure(engine)
    with Session(engine) as session:
        calls = service(session)
        calls.enable("acme", "slack")
        secrets, credentials = calls.reveal("acme", "slack"), calls.credentials("acme", "slack")
        row = session.get_one(TenantIntegrationConfig, ("slack", "acme")) if hasattr(session, "get_one") else None
        for each in (secrets, credentials, calls.get("acme", "slack"), hidden(DOCUMENT), Hidden(SENTINEL), row):
            assert SENTINEL not in f"{each} {each!r} {walked(each)}"
        assert (
            dict(secrets) == dict(secrets.items()) == {"/bot_token": SENTINEL, "/oauth/client_secret": SENTINEL + "-2"}
        )
        assert (secrets.get("bot_token"), secrets.get("nothing", 5)) == (SENTINEL, 5)
        assert [*secrets.values()] == [SENTINEL, SENTINEL + "-2"]
        if row is not None:
            assert SENTINEL not in str(row.model_dump())
            assert "#alerts" not in repr(row)
        for each in (secrets, credentials, hidden(DOCUMENT)):
            for way in (pickle.dumps, copy.deepcopy):
                with pytest.raises(TypeError):
                    way(each)
