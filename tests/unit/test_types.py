"""The column types and identifiers, on SQLite in memory; the PostgreSQL half is shown by compiled SQL."""

from __future__ import annotations

import operator
import os
import threading
import uuid
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, localcontext
from enum import StrEnum
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import postgresql, sqlite

from tierwright.errors import ConfigurationError, InvalidInput
from tierwright.types import (
    ExactDecimal,
    UtcDateTime,
    canonical_tenant_id,
    exact_decimal,
    json_type,
    key_type,
    to_utc,
    utc_now,
    uuid7,
)
from tierwright.uuid7 import _Uuid7Maker

METADATA = sa.MetaData()
THINGS = sa.Table(
    "things",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("price", ExactDecimal()),
    sa.Column("at", UtcDateTime()),
    sa.Column("doc", json_type()),
    sa.Column("key", key_type(20)),
)
PRICE = THINGS.c.price


@pytest.fixture
def connection() -> Any:
    engine = sa.create_engine("sqlite://")
    METADATA.create_all(engine)
    with engine.connect() as opened:
        yield opened
    engine.dispose()


class TestUuid7:
    def test_has_version_and_variant_and_the_time(self) -> None:
        made = uuid7()
        assert made.version == 7
        assert made.variant == uuid.RFC_4122
        assert abs((made.int >> 80) - datetime.now(UTC).timestamp() * 1000) < 5000

    def test_only_grows_within_a_process(self) -> None:
        made = [uuid7() for _ in range(20_000)]
        assert made == sorted(made)
        assert len(set(made)) == len(made)

    def test_own_maker_grows_when_the_clock_goes_back(self, monkeypatch: pytest.MonkeyPatch) -> None:
        make = _Uuid7Maker()
        moments = iter([2_000_000_000_000_000_000, 1_000_000_000_000_000_000, 1_000_000_000_000_000_000])
        monkeypatch.setattr("tierwright.uuid7.time.time_ns", lambda: next(moments))
        first, second, third = make(), make(), make()
        assert first < second < third

    def test_own_maker_moves_to_the_next_millisecond_when_its_counter_is_full(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tierwright.uuid7.time.time_ns", lambda: 2_000_000_000_000_000_000)
        make = _Uuid7Maker()
        first = make()
        make._counter = 2**42 - 1
        assert (first.int >> 80) + 1 == make().int >> 80

    def test_threads_never_get_the_same(self) -> None:
        make, made = _Uuid7Maker(), []

        def work() -> None:
            made.extend(make() for _ in range(2_000))

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(set(made)) == 8_000

    def test_a_forked_child_does_not_go_on_from_its_parents_counter(self) -> None:
        make = _Uuid7Maker()
        make._millisecond, make._counter = 2**47, 7  # far in the future: a child that kept it would show it
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:  # pragma: no cover  runs in the child
            os.write(writer, make().bytes)
            os._exit(0)
        os.waitpid(child, 0)
        assert uuid.UUID(bytes=os.read(reader, 16)).int >> 80 < 2**47
        os.close(reader)
        os.close(writer)


class TestUtcDateTime:
    def test_any_zone_comes_back_as_utc(self, connection: sa.Connection) -> None:
        moment = datetime(2026, 3, 1, 1, 30, tzinfo=timezone(timedelta(hours=5)))
        connection.execute(THINGS.insert().values(id=1, at=moment))
        back = connection.scalar(sa.select(THINGS.c.at))
        assert back == moment
        assert back.tzinfo is UTC
        assert connection.exec_driver_sql("SELECT at FROM things").scalar() == "2026-02-28 20:30:00.000000"
        assert connection.scalar(sa.select(THINGS.c.id).where(THINGS.c.at <= moment)) == 1

    def test_an_answer_in_another_zone_is_turned_into_utc(self) -> None:
        tokyo = datetime(2026, 1, 1, 9, tzinfo=timezone(timedelta(hours=9)))
        back = UtcDateTime().process_result_value(tokyo, postgresql.dialect())
        assert (back, back and back.tzinfo) == (datetime(2026, 1, 1, tzinfo=UTC), UTC)

    def test_naive_is_refused_before_sql(self, connection: sa.Connection) -> None:
        with pytest.raises(InvalidInput, match="no time zone") as caught:
            connection.execute(THINGS.insert().values(id=1, at=datetime(2026, 1, 1)))
        assert caught.value.code == "invalid-input"
        with pytest.raises(InvalidInput):
            connection.execute(sa.select(THINGS).where(THINGS.c.at < datetime(2026, 1, 1)))

    @pytest.mark.parametrize("value", ["2026-01-01", 5, datetime.min.replace(tzinfo=timezone(timedelta(hours=1)))])
    def test_what_is_no_moment_in_utc_is_refused(self, value: Any) -> None:
        with pytest.raises(InvalidInput):
            to_utc(value)

    def test_utc_now_is_aware(self) -> None:
        assert utc_now().tzinfo is UTC

    def test_literals_render(self) -> None:
        statement = sa.select(THINGS.c.id).where(THINGS.c.at == datetime(2026, 1, 1, tzinfo=UTC))
        text = str(statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
        assert "2026-01-01 00:00:00+00:00" in text


class TestExactDecimal:
    @given(st.decimals(allow_nan=False, allow_infinity=False, places=40) | st.integers(-(10**60), 10**60))
    def test_keeps_every_digit_whatever_the_context(self, value: Decimal | int) -> None:
        with localcontext() as context:
            context.prec = 3
            kept = exact_decimal(value)
        assert kept == value
        assert "E" not in format(kept, "f")

    @pytest.mark.parametrize(
        ("given_", "text"),
        [("1.50", "1.5"), ("100", "100"), ("1e3", "1000"), ("-0.0", "0"), ("0.00", "0"), ("1.5e-7", "0.00000015")],
    )
    def test_equal_numbers_have_one_text(self, given_: str, text: str) -> None:
        assert format(exact_decimal(given_), "f") == text

    @pytest.mark.parametrize(
        "bad",
        [
            0.1,
            True,
            None,
            Decimal("NaN"),
            Decimal("sNaN"),
            Decimal("inf"),
            "NaN",
            "",
            " 1",
            "1_0",
            "٣",
            "1e99999",
            "9" * 1001,
            Decimal("1e999999"),
            Decimal("1e-5000"),
        ],
    )
    def test_what_is_not_exact_is_refused(self, bad: Any) -> None:
        with pytest.raises(InvalidInput):
            exact_decimal(bad)

    def test_round_trip_and_equality_on_sqlite(self, connection: sa.Connection) -> None:
        price = Decimal("0.000000000000000000123")
        connection.execute(THINGS.insert(), [{"id": 1, "price": price}, {"id": 2, "price": None}])
        assert connection.scalars(sa.select(PRICE).order_by(THINGS.c.id)).all() == [price, None]
        assert connection.scalar(sa.select(THINGS.c.id).where(THINGS.c.price == price)) == 1
        assert connection.scalar(sa.select(THINGS.c.id).where(PRICE.in_([price, 4]))) == 1
        assert connection.scalar(sa.select(THINGS.c.id).where(PRICE.is_(None))) == 2
        assert connection.exec_driver_sql("SELECT typeof(price) FROM things WHERE id = 1").scalar() == "text"

    def test_a_float_never_reaches_sql(self, connection: sa.Connection) -> None:
        with pytest.raises(InvalidInput, match="float"):
            connection.execute(THINGS.insert().values(id=1, price=0.1))
        with pytest.raises(InvalidInput, match="float"):
            connection.execute(sa.select(THINGS).where(PRICE == 0.1))

    REFUSED = (
        PRICE < 1,
        PRICE <= 1,
        PRICE > 1,
        PRICE >= 1,
        operator.lt(1, PRICE),
        PRICE.between(0, 1),
        PRICE + 1,
        2 * PRICE,
        1 - PRICE,
        PRICE / 2,
        -PRICE,
        PRICE.asc(),
        PRICE.desc(),
        PRICE.desc().nulls_last(),
        sa.func.min(PRICE),
        sa.func.max(PRICE),
        sa.func.sum(PRICE),
        sa.func.max(PRICE).over(),
        ~(PRICE < 1),
    )

    @pytest.mark.parametrize("expression", REFUSED, ids=str)
    def test_what_text_cannot_do_is_refused_on_sqlite_only(self, expression: Any) -> None:
        with pytest.raises(ConfigurationError, match="exact decimals as text"):
            expression.compile(dialect=sqlite.dialect())
        assert "price" in str(expression.compile(dialect=postgresql.dialect()))

    def test_refused_in_a_subquery_too(self) -> None:
        statement = sa.select(THINGS.c.id).where(sa.select(sa.func.min(PRICE)).scalar_subquery() == PRICE)
        with pytest.raises(ConfigurationError):
            statement.compile(dialect=sqlite.dialect())

    def test_other_minima_are_left_alone(self) -> None:
        assert str(sa.select(sa.func.min(THINGS.c.id)).compile(dialect=sqlite.dialect())).startswith("SELECT min(")

    def test_a_float_out_of_sqlite_is_refused(self) -> None:
        with pytest.raises(InvalidInput):
            ExactDecimal().process_result_value(0.30000000000000004, sqlite.dialect())

    def test_precedence_survives_the_marking(self) -> None:
        statement = (PRICE + 1) * 2 > 4
        text = str(statement.compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True}))
        assert text == "((things.price + 1) * 2) > 4"


class TestJsonAndKeys:
    def test_none_is_sql_null(self, connection: sa.Connection) -> None:
        connection.execute(THINGS.insert(), [{"id": 1, "doc": None}, {"id": 2, "doc": {"a": [1]}}])
        assert connection.exec_driver_sql("SELECT doc IS NULL FROM things WHERE id = 1").scalar() == 1
        assert connection.scalar(sa.select(THINGS.c.doc).where(THINGS.c.id == 2)) == {"a": [1]}

    def test_ddl_of_both_dialects(self) -> None:
        def ddl(dialect: Any) -> list[str]:
            return [c.type.compile(dialect=dialect) for c in (PRICE, THINGS.c.doc, THINGS.c.key, THINGS.c.at)]

        assert ddl(sqlite.dialect()) == ["TEXT", "JSON", "VARCHAR(20)", "DATETIME"]
        assert ddl(postgresql.dialect()) == ["NUMERIC", "JSONB", 'VARCHAR(20) COLLATE "C"', "TIMESTAMP WITH TIME ZONE"]


class _Tenant(StrEnum):
    ACME = "acme"


class TestCanonicalTenantId:
    UUID_TEXT = "0192f0c1-2b3c-7d4e-8f50-a1b2c3d4e5f6"

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            ("acme", "acme"),
            ("Acme", "Acme"),
            (_Tenant.ACME, "acme"),
            (42, "42"),
            (-1, "-1"),
            (uuid.UUID(UUID_TEXT), UUID_TEXT),
            (UUID_TEXT.upper(), UUID_TEXT),
            (uuid.UUID(UUID_TEXT).hex.upper(), uuid.UUID(UUID_TEXT).hex.upper()),
            ("a b", "a b"),
            ("ü" * 255, "ü" * 255),
            (10**254, "1" + "0" * 254),
        ],
    )
    def test_one_text_per_tenant(self, value: Any, text: str) -> None:
        canonical = canonical_tenant_id(value)
        assert canonical == text
        assert type(canonical) is str

    @pytest.mark.parametrize(
        "bad",
        [
            True,
            False,
            None,
            1.0,
            b"acme",
            [],
            "",
            " ",
            " acme",
            "acme\n",
            "a" * 256,
            "a\x00b",
            "a\ud800b",
            10**255,
            -(10**255),
            10**5000,
            -(10**254),
        ],
        ids=lambda value: repr(value)[:20] if not isinstance(value, int) else f"int{value % 97}",
    )
    def test_what_names_no_tenant_is_refused(self, bad: Any) -> None:
        with pytest.raises(InvalidInput) as caught:
            canonical_tenant_id(bad)
        assert caught.value.code == "invalid-input"
