"""The revision that lets tiers be deleted: found dirt stops it first, and going down loses no tier."""

from __future__ import annotations

import datetime as dt

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.migration import support
from tests.support import rows
from tierwright import errors, migrations
from tierwright.doctor import examine
from tierwright.tables import LicenseTier

TIERS = LicenseTier.__table__  # type: ignore[attr-defined]  # made by the metaclass


def names(engine: Engine) -> list[tuple[str, bool]]:
    with engine.connect() as connection:
        return sorted(
            (row[0], bool(row[1])) for row in connection.execute(sa.select(TIERS.c.tier_key, TIERS.c.is_active))
        )


def test_tiers_of_one_key_stop_it_before_anything_changes(engine: Engine) -> None:
    support.fill_before_the_optimisation(engine)
    migrations.upgrade(engine, support.GUARDED)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP INDEX idx_license_tier_key")
        connection.execute(sa.insert(TIERS).values(id=rows.ident(99), tier_key="pro", name="Twice"))
    before = support.dump(engine)
    with pytest.raises(errors.DirtyData, match="idx_license_tier_key") as caught:
        migrations.upgrade(engine)
    assert [(found["keys"], found["problem"]) for found in caught.value.details["findings"]] == [
        (("pro",), "duplicate")
    ]
    assert support.dump(engine) == before


def test_going_down_makes_deleted_tiers_retired_ones(migrated_engine: Engine) -> None:
    with migrated_engine.begin() as connection:
        rows.fill(connection)
        gone = {"deleted_at": dt.datetime(2026, 1, 1, tzinfo=dt.UTC), "is_active": False}
        connection.execute(sa.update(TIERS).where(TIERS.c.tier_key == "pro").values(**gone))
        connection.execute(sa.insert(TIERS).values(id=rows.ident(99), tier_key="pro", name="Again"))
    with pytest.raises(errors.DirtyData, match="idx_license_tier_key"):
        migrations.downgrade(migrated_engine, support.GUARDED)
    assert migrations.check(migrated_engine).ok
    with migrated_engine.begin() as connection:
        connection.execute(sa.delete(TIERS).where(TIERS.c.id == rows.ident(99)))
    migrations.downgrade(migrated_engine, support.GUARDED)
    assert names(migrated_engine) == [("free", True), ("pro", False)]
    migrations.upgrade(migrated_engine)
    assert examine(migrated_engine).ok
    assert support.leftovers(migrated_engine) == []


def test_a_unique_index_holds_until_its_replacement_does(postgresql_engine: Engine) -> None:
    """A run that was killed between the two leaves the old index and the new one; the next run goes on."""
    migrations.upgrade(postgresql_engine, support.GUARDED)
    with postgresql_engine.begin() as connection:
        rows.fill(connection)
        connection.exec_driver_sql("CREATE UNIQUE INDEX _tierwright_replacement ON license_tier (name)")
    migrations.upgrade(postgresql_engine)
    assert examine(postgresql_engine).ok
    assert support.leftovers(postgresql_engine) == []
