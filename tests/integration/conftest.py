"""The same fixtures as for the chain, on the databases on which behaviour is tried."""

from __future__ import annotations

import pytest

from tests.conftest import SERVERS


@pytest.fixture(params=["sqlite", *SERVERS])
def database_kind(request: pytest.FixtureRequest) -> str:
    """Name the database that this run of the test is on."""
    return str(request.param)


@pytest.fixture(params=SERVERS)
def postgresql_kind(request: pytest.FixtureRequest) -> str:
    """Name the PostgreSQL that this run of the test is on."""
    return str(request.param)
