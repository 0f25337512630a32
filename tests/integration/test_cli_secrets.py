"""``tierwright secrets``: keys on the command line, exit codes for scripts, and no key or secret in what is said."""

from __future__ import annotations

import base64
import sys
from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tests.integration.test_rotation import BOTH, counted, fill
from tests.support.cli import run, run_json, url_of
from tests.support.integrations import KEY_1, KEY_2
from tierwright.secrets import KeyRing
from tierwright.secrets.key_text import key_line

PROVIDER = BOTH
NO_PROVIDER = 7


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    """Return a file with both keys, of which k2 is active."""
    path = tmp_path / "keys"
    path.write_text(f"{key_line('k2', KEY_2)}\n{key_line('k1', KEY_1)}\n")
    return str(path)


def test_a_generated_line_is_a_ring() -> None:
    line = run("secrets", "generate-key", "2026-11").stdout
    assert KeyRing.from_text(line).key_ids == ("2026-11",)
    assert line != run("secrets", "generate-key", "2026-11").stdout
    run("secrets", "generate-key", "no id", exit_code=2)


def test_status_rotate_and_status_again(migrated_engine: Engine, key_file: str) -> None:
    url = url_of(migrated_engine)
    empty = run_json("secrets", "rotate", "--key-file", key_file, url=url, exit_code=1)
    assert (empty["found"], empty["ok"]) == (0, False)
    assert run_json("secrets", "rotate", "--allow-empty", "--key-file", key_file, url=url)["ok"]
    fill(migrated_engine, 5)
    assert run_json("secrets", "status", url=url) == {"keys": {"k1": 5}, "unreadable": 0, "total": 5}
    assert run_json("secrets", "rotate", "--dry-run", "--key-file", key_file, url=url)["rotated"] == 5
    assert "5 moved to k2" in run("secrets", "rotate", "--key-file", key_file, "--rewrap-only", url=url).output
    assert counted(migrated_engine) == {"k2": 5}
    assert "5  k2" in run("secrets", "status", url=url).output
    module = f"{__name__}:PROVIDER"
    assert run_json("secrets", "rotate", "--provider", module, url=url)["current"] == 5


def test_a_row_that_fails_is_an_exit_code(migrated_engine: Engine, tmp_path: Path) -> None:
    fill(migrated_engine, 2)
    wrong = tmp_path / "wrong"
    wrong.write_text(f"{key_line('k2', KEY_2)}\n{key_line('k1', b'3' * 32)}\n")
    result = run_json("secrets", "rotate", "--key-file", str(wrong), url=url_of(migrated_engine), exit_code=1)
    assert result["failed"] == {"decryption-failed": 2}
    assert counted(migrated_engine) == {"k1": 2}


def test_verify_remembers_and_recognises(migrated_engine: Engine, key_file: str, tmp_path: Path) -> None:
    url = url_of(migrated_engine)
    assert run_json("secrets", "verify", "--key-file", key_file, url=url)["created"]
    assert "right" in run("secrets", "verify", "--key-file", key_file, url=url).output
    other = tmp_path / "other"
    other.write_text(key_line("k2", KEY_1))
    said = run("secrets", "verify", "--key-file", str(other), url=url, exit_code=1).output
    assert "decryption-failed" in said
    assert base64.b64encode(KEY_1).decode() not in said


def test_a_provider_is_imported_from_where_the_command_is_given(
    migrated_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = key_line("k1", KEY_1)
    text = f"from tierwright.secrets import KeyRing\n\ndef keys():\n    return KeyRing.from_text({ring!r})\n"
    (tmp_path / "an_app_of_somebody.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [*sys.path])
    monkeypatch.delitem(sys.modules, "an_app_of_somebody", raising=False)
    url = url_of(migrated_engine)
    assert run_json("secrets", "verify", "--provider", "an_app_of_somebody:keys", url=url)["active"] == "k1"


def test_keys_that_are_not_there_or_two_of_them(migrated_engine: Engine, key_file: str) -> None:
    url = url_of(migrated_engine)
    assert "secrets-not-configured" in run("secrets", "verify", url=url, exit_code=1).output
    run("secrets", "verify", "--key-file", key_file, "--provider", "a:b", url=url, exit_code=2)
    for provider in ("no_such_module:x", f"{__name__}:no_such", "nothing"):
        run("secrets", "verify", "--provider", provider, url=url, exit_code=2)
