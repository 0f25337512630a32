"""Two tenants: whatever one does, through the API or past it, nothing changes that the other can observe."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.engine import Connection, Engine

from tests.conftest import POSTGRES, SERVERS
from tests.support import rows
from tests.support.apart import TABLES, Apart, apart, rows_of, setting, stock
from tests.support.raw_sql import FORGED, Statement, statements
from tests.support.two_tenants import PAIRS, act, observed, settle
from tierwright import Entitlements, SnapshotStore

ONE, OTHER = "tenant-one", "tenant-other"
PAIR = st.sampled_from(PAIRS + [(other, one) for one, other in PAIRS])


def examples(how_many: int) -> Callable[[Any], Any]:
    slow = [HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
    return settings(max_examples=how_many, deadline=None, suppress_health_check=slow, database=None)


@pytest.fixture(scope="module", params=SERVERS)
def place(request: pytest.FixtureRequest, servers: Any, migrated_templates: Any) -> Iterator[Apart]:
    version, schema = POSTGRES[request.param]
    with apart(servers(version), migrated_templates(request.param), schema) as made:
        yield made


def begin_anew(root: Engine, *tenants: Any) -> None:
    with root.begin() as connection:
        rows.remove_all(connection, TABLES)
    for tenant in tenants:
        settle(root, tenant)


# --- through the API -------------------------------------------------------------------------------------------------


def test_what_one_does_through_the_api_is_nothing_to_the_other(migrated_engine: Engine, database_kind: str) -> None:
    stock(migrated_engine)
    done = []

    @examples(30 if database_kind == "sqlite" else 6)
    @given(PAIR, st.randoms(use_true_random=False), st.integers(4, 12))
    def check(pair: tuple[Any, Any], source: Random, how_many: int) -> None:
        one, other = pair
        begin_anew(migrated_engine, one, other)
        before = observed(migrated_engine, migrated_engine, other)
        done.append(act(migrated_engine, one, other, source, how_many))
        assert observed(migrated_engine, migrated_engine, other) == before

    check()
    assert sum(done) > len(done), "much was refused: this shows nothing"


def test_the_same_with_row_level_security_whomever_the_session_works_for(place: Apart) -> None:
    @examples(6)
    @given(PAIR, st.randoms(use_true_random=False), st.integers(4, 12))
    def check(pair: tuple[Any, Any], source: Random, how_many: int) -> None:
        one, other = pair
        begin_anew(place.root, one, other)
        before = observed(place.root, place.root, other)
        assert observed(place.app, place.root, other) == before
        act(place.app, one, other, source, how_many, contexts=True)
        assert observed(place.app, place.root, other) == before
        with place.app.connect() as connection:
            assert not setting(connection)
        with SnapshotStore(place.app, background=False) as store:
            assert dict(Entitlements(store=store).evaluate_all(other)) == before["decisions"]

    check()


# --- past it, as the application's role ------------------------------------------------------------------------------


def told(connection: Connection, context: str | None, for_session: bool) -> None:
    """Let a connection work for somebody, as a host would, or an attacker."""
    if context is not None:
        connection.execute(sa.select(sa.func.set_config("tierwright.tenant_id", context, not for_session)))


def sent(place: Apart, statement: Statement, context: str | None, commits: bool, for_session: bool) -> list[Any]:
    """Send a statement; return what it shows. The pool has one connection: the next statement gets it too."""
    with place.app.connect() as connection:
        connection.begin()
        told(connection, context, for_session)
        works_for = setting(connection)
        refused, shown = statement.run(connection, ONE, OTHER)
        if commits and refused is None:
            connection.commit()
        assert refused or shown == [] or works_for == ONE, statement.name
        return shown


def test_what_one_does_with_raw_sql_is_nothing_to_the_other(place: Apart) -> None:
    """Whether it works for itself, for nobody, or for what looks like the other; each after the others."""
    contexts: st.SearchStrategy[str | None] = st.sampled_from(
        [ONE, ONE, ONE, None, *(forge(OTHER) for forge in FORGED)]
    )
    begin_anew(place.root, ONE, OTHER)
    before = {tenant: rows_of(place.root, tenant) for tenant in (ONE, OTHER)}

    @examples(25)
    @given(st.lists(st.tuples(st.sampled_from(statements()), contexts, st.booleans(), st.booleans()), min_size=4))
    def check(calls: list[tuple[Statement, str | None, bool, bool]]) -> None:
        place.app.dispose()  # what an example left on the session must not be there in the next one
        for call in calls:
            assert OTHER not in repr(sent(place, *call)), call
        assert rows_of(place.root, OTHER) == before[OTHER]
        if rows_of(place.root, ONE) != before[ONE]:
            begin_anew(place.root, ONE, OTHER)
            before.update({tenant: rows_of(place.root, tenant) for tenant in (ONE, OTHER)})

    check()


def test_each_of_these_statements_is_refused_or_does_its_work(place: Apart) -> None:
    """Else the test before would show nothing."""
    begin_anew(place.root, "mine", "others")
    for statement in statements():
        with place.app.connect() as connection:
            connection.begin()
            told(connection, "mine", for_session=False)
            if statement.refused:
                assert statement.run(connection, "mine", "others")[0] in statement.refused, statement.name
            elif statement.shows:
                assert "mine" in repr(statement.run(connection, "mine", "mine")), statement.name


@pytest.mark.parametrize("context", [None, "", "%", OTHER.upper()])
def test_none_of_them_finds_anything_without_a_tenant(place: Apart, context: str | None) -> None:
    begin_anew(place.root, ONE, OTHER)
    place.app.dispose()  # to PostgreSQL a setting that was never made is another thing than an empty one
    for statement in statements():
        with place.app.connect() as connection:
            connection.begin()
            told(connection, context, for_session=False)
            refused, shown = statement.run(connection, ONE, OTHER)
            assert refused or shown == [], statement.name
    assert rows_of(place.root, ONE)["tenant_license"]
