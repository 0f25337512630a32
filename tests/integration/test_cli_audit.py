"""``tierwright audit``: the history for people and for other programs."""

from __future__ import annotations

import csv
import io
import json
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.cli import run, run_json, small_catalogue
from tests.support.registry import OFF, ON, writer
from tierwright.audit import AuditEntry, AuditLog
from tierwright.cli.audit import _newest
from tierwright.cli.new_files import new_file
from tierwright.errors import InvalidInput
from tierwright.services.audit import AuditContext
from tierwright.tables import FeatureRegistry
from tierwright.types import utc_now, uuid7


@pytest.fixture
def url(migrated_engine: Engine) -> str:
    return small_catalogue(migrated_engine)


def test_people_read_who_did_what_when_and_why(url: str) -> None:
    run("override", "set", "acme", "ui.canvas", "--off", "--actor", "jane", "--reason", "Ticket 5", url=url)
    run("override", "set", "acme", "ui.canvas", "--actor", "joe", url=url)
    newest, oldest = run(
        "audit", "list", "--tenant", "acme", "--entity", "tenant_override", url=url
    ).stdout.splitlines()
    assert "created" in oldest
    assert oldest.endswith("tenant_override acme/ui.canvas    by jane: Ticket 5")
    assert 'feature_value: {"enabled": false} > {"enabled": true}' in newest
    assert newest.endswith("by joe")


def test_a_list_goes_on_where_it_ended(url: str) -> None:
    everything = run_json("audit", "list", "--limit", "1000", url=url)["entries"]
    first = run_json("audit", "list", "--limit", "5", url=url)
    second = run_json("audit", "list", "--limit", "1000", "--cursor", first["next"], url=url)
    assert first["entries"] + second["entries"] == everything
    assert second["next"] is None
    assert "--cursor" in run("audit", "list", "--limit", "5", url=url).stderr


@pytest.mark.parametrize(
    ("options", "kinds"),
    [
        (("--entity", "tier"), {"tier"}),
        (("--entity", "tier/pro"), {"tier"}),
        (("--feature", "data.history", "--action", "created"), {"feature", "tier_feature", "tenant_override"}),
        (("--by", "nobody"), set()),
        (("--until", "2020-01-01T00:00Z"), set()),
        (("--since", "2020-01-01T00:00Z", "--entity", "tenant_license"), {"tenant_license"}),
    ],
)
def test_options_narrow_the_list(url: str, options: tuple[str, ...], kinds: set[str]) -> None:
    assert {entry["entity_type"] for entry in run_json("audit", "list", *options, url=url)["entries"]} == kinds


@pytest.mark.parametrize(
    "options", [("--entity", "tiers"), ("--action", "x"), ("--since", "monday"), ("--cursor", "x"), ("--tenant", "")]
)
def test_what_cannot_be_meant_is_wrong_usage(url: str, options: tuple[str, ...]) -> None:
    run("audit", "list", *options, url=url, exit_code=2)


def test_the_tail_has_the_newest_last(url: str) -> None:
    newest_first = run_json("audit", "list", "--limit", "4", url=url)["entries"]
    lines = run("audit", "tail", "-n", "4", "--json", url=url).stdout.splitlines()
    assert [json.loads(line) for line in lines] == newest_first[::-1]
    assert run("audit", "tail", "-n", "0", url=url).stdout == ""


def test_a_tail_that_follows_shows_what_is_recorded_meanwhile_and_nothing_twice(
    migrated_engine: Engine, url: str
) -> None:
    command = [sys.executable, "-m", "tierwright", "audit", "tail", "-n", "1", "-f", "--json", "--url", url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        json.loads(process.stdout.readline())
        late = Session(migrated_engine)
        if migrated_engine.dialect.name == "postgresql":  # written first, and committed last
            writer(late).overrides.set("late", "ui.canvas", ON)
        with Session(migrated_engine) as session:
            writer(session).overrides.set("early", "ui.canvas", ON)
            session.commit()
        assert json.loads(process.stdout.readline())["tenant_id"] == "early"
        late.commit()
        late.close()
        if migrated_engine.dialect.name == "postgresql":
            assert json.loads(process.stdout.readline())["tenant_id"] == "late"
    finally:
        process.kill()
        rest, _ = process.communicate()
    assert rest == ""


def test_what_is_dated_ahead_does_not_hide_what_comes() -> None:
    now = utc_now()
    entries = [AuditEntry(uuid7(), now + timedelta(days=days), *["x"] * 12) for days in (-2, -1, 900)]
    found = _newest({entry.id: entry for entry in entries}, None)
    assert found is not None
    assert now <= found <= utc_now()
    assert _newest({}, found) == found
    assert _newest({}, None) is None


def test_odd_characters_stay_in_their_line(migrated_engine: Engine, url: str, tmp_path: Path) -> None:
    """Escapes of terminals, line ends of Unicode, and half a surrogate pair, which SQLite keeps in JSON."""
    odd = "\x9b2J \u2028 \u202e é 漢"
    with Session(migrated_engine) as session:
        writer(session).features.change("ui.canvas", description=odd)
        if migrated_engine.dialect.name == "sqlite":
            row = session.scalars(sa.select(FeatureRegistry).filter_by(feature_key="ui.canvas")).one()
            row.default_value = {"enabled": False, "value": odd + "\ud800"}
        session.commit()
    for options in ((), ("--format", "csv")):
        run("audit", "export", *options, "--to", str(tmp_path / f"file{len(options)}"), url=url)
    lines = (tmp_path / "file0").read_text().splitlines()
    assert any((json.loads(line)["new_value"] or {}).get("description") == odd for line in lines)
    assert all(line.isprintable() for line in lines)
    assert any("é 漢" in line for line in lines)
    run("tenant", "history", "acme", "--at", utc_now().isoformat(), url=url)


def test_a_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    """Half an export, of a process that was killed, is not taken for a whole one."""
    path = tmp_path / "history.jsonl"
    with new_file(path) as file:
        file.write("one\n")
        file.flush()
        assert not path.exists()
    with pytest.raises(InvalidInput), new_file(tmp_path / "other") as file:
        (tmp_path / "other").write_text("theirs")  # meanwhile
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {"history.jsonl": "one\n", "other": "theirs"}


def test_an_export_has_everything_the_oldest_first(migrated_engine: Engine, url: str, tmp_path: Path) -> None:
    with Session(migrated_engine) as session:
        wanted = [str(entry.id) for entry in AuditLog(session).stream()][::-1]
    assert [json.loads(line)["id"] for line in run("audit", "export", url=url).stdout.splitlines()] == wanted
    file = tmp_path / "history.csv"
    result = run("audit", "export", "--format", "csv", "--to", str(file), url=url)
    assert f"{len(wanted)} entries" in result.stderr
    with file.open(newline="") as opened:
        assert [row["id"] for row in csv.DictReader(opened)] == wanted
    before = file.read_bytes()
    run("audit", "export", "--to", str(file), url=url, exit_code=2)
    assert file.read_bytes() == before
    run("audit", "export", "--to", str(tmp_path / "no" / "such.jsonl"), url=url, exit_code=2)


def test_a_spreadsheet_calculates_nothing_of_it(migrated_engine: Engine, url: str) -> None:
    with Session(migrated_engine) as session:
        registry = writer(session)
        AuditContext("=1+1", reason='@SUM(A1)\n"quoted", too', user_agent="+cmd").attach(session)
        registry.overrides.set("-1", "ui.canvas", OFF)
        session.commit()
    text = run("audit", "export", "--format", "csv", "--entity", "tenant_override/-1/ui.canvas", url=url).stdout
    (row,) = csv.DictReader(io.StringIO(text))
    assert row["performed_by"] == "'=1+1"
    assert row["reason"] == '\'@SUM(A1)\n"quoted", too'
    assert (row["user_agent"], row["tenant_id"], row["entity_id"]) == ("'+cmd", "'-1", "'-1/ui.canvas")
    assert json.loads(row["new_value"])["feature_value"] == OFF


def test_a_file_that_was_not_written_to_its_end_is_gone(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("tierwright.cli.audit_formats._json", broken)
    file = tmp_path / "history.jsonl"
    run("audit", "export", "--to", str(file), url=url, exit_code=130)
    assert not file.exists()
