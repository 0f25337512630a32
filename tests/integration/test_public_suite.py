"""The public behaviour suite, as a host runs it, on every database."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy.engine import Engine

from tests.conftest import POSTGRES, SERVERS, _fresh, host_engine
from tierwright.testing.suite import *  # noqa: F403


@pytest.fixture(scope="module", params=["sqlite", *SERVERS])
def tierwright_engine(
    request: pytest.FixtureRequest, migrated_templates: Any, tmp_path_factory: pytest.TempPathFactory, servers: Any
) -> Iterator[Engine]:
    """Yield an engine on one database at head for the whole module: the suite empties it between tests."""
    template = migrated_templates(request.param)
    if request.param == "sqlite":
        engine = host_engine(f"sqlite:///{shutil.copy(template, tmp_path_factory.mktemp('suite') / 'suite.sqlite3')}")
        yield engine
        engine.dispose()
        return
    version, schema = POSTGRES[request.param]
    for url in _fresh(servers(version), template, schema):
        engine = host_engine(url)
        yield engine
        engine.dispose()
