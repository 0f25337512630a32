"""URLs and options of the chain."""

from __future__ import annotations

import pickle

import pytest

from tierwright import errors
from tierwright.migrations.options import MigrationOptions
from tierwright.migrations.urls import migration_engine, migration_url


@pytest.mark.parametrize(
    ("given", "driver"),
    [
        ("postgres://u@h/d", "postgresql+psycopg"),
        ("postgresql://u@h/d", "postgresql+psycopg"),
        ("postgresql+asyncpg://u@h/d", "postgresql+psycopg"),
        ("postgresql+psycopg2://u@h/d", "postgresql+psycopg2"),
        ("sqlite+aiosqlite:///x.db", "sqlite"),
    ],
)
def test_a_url_is_migrated_through_a_synchronous_driver(given: str, driver: str) -> None:
    url = migration_url(given)
    assert url.drivername == driver
    assert url.database in ("d", "x.db")


def test_asyncpg_spelling_of_tls_is_translated() -> None:
    assert dict(migration_engine("postgresql+asyncpg://u@h/d?ssl=require").url.query) == {"sslmode": "require"}


@pytest.mark.parametrize("url", ["", "no url", "postgresql://:secret@[::1/d"])
def test_an_unreadable_url_is_refused_without_repeating_it(url: str) -> None:
    with pytest.raises(errors.DatabaseUrlInvalid) as refused:
        migration_url(url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("url", ["mysql://h/d", "mssql+pyodbc://h/d", "oracle://h"])
def test_an_unknown_dialect_is_refused(url: str) -> None:
    with pytest.raises(errors.DialectUnsupported):
        migration_url(url)


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "sqlite+aiosqlite://"])
def test_a_database_that_would_vanish_is_refused(url: str) -> None:
    with pytest.raises(errors.DatabaseUrlInvalid):
        migration_engine(url)


def test_options_come_from_arguments_then_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIERWRIGHT_SCHEMA", "from_env")
    monkeypatch.setenv("TIERWRIGHT_LOCK_TIMEOUT", "0.2")
    options = MigrationOptions.from_environment({"schema": "given", "lock_wait": "5"})
    assert options == MigrationOptions(schema="given", lock_timeout=0.2, lock_wait=5.0)
    assert MigrationOptions.from_environment({}).schema == "from_env"


@pytest.mark.parametrize("text", ["soon", "0", "-1", "nan", "inf"])
def test_a_lock_timeout_that_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(errors.ConfigurationError):
        MigrationOptions.from_environment({"lock_timeout": text})


def every_error() -> list[type[errors.TierwrightError]]:
    """Return every class of the tree."""
    found = [errors.TierwrightError]
    for cls in found:
        found.extend(cls.__subclasses__())
    return [cls for cls in found if cls.__module__ == errors.__name__]


@pytest.mark.parametrize("cls", every_error(), ids=lambda cls: cls.__name__)
def test_an_error_has_a_code_a_docstring_and_survives_pickling(cls: type[errors.TierwrightError]) -> None:
    error = pickle.loads(pickle.dumps(cls("Found this.", remedy="Do that.", details={"n": 1})))
    assert type(error) is cls
    assert str(error) == "Found this. Do that."
    assert error.details == {"n": 1}
    assert error.code.replace("-", "") == cls.__name__.lower()
    assert (cls.__doc__ or "").splitlines()[0].endswith(".")


def test_error_codes_are_unique() -> None:
    codes = [cls.code for cls in every_error()]
    assert len(set(codes)) == len(codes)
