"""The generated pages are what the code says now, and the hand-written ones name everything there is."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer
from sqlmodel import SQLModel

import tierwright
from tierwright import Availability, Reason, Source, errors, tables
from tierwright.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"


def _tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("write_reference", ROOT / "tools" / "write_reference.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TOOL = _tool()


@pytest.mark.parametrize("name", TOOL.PAGES)
def test_generated_page_has_not_drifted(name: str) -> None:
    written = (DOCS / "reference" / name).read_text("utf-8")
    assert written == TOOL.PAGES[name](), "run python tools/write_reference.py"


def test_indexes_of_one_dialect_are_among_the_tables() -> None:
    page = (DOCS / "reference" / "tables.md").read_text("utf-8")
    assert "| `idx_tenant_integration_config` | `PostgreSQL only: INDEX USING gin (config jsonb_path_ops)` |" in page
    assert "| `idx_tenant_integration_region` | `SQLite only: INDEX (" in page


def test_notes_are_about_columns_that_exist() -> None:
    for note in TOOL.NOTES:
        table, column = note.split(".")
        assert column in SQLModel.metadata.tables[table].columns, note


def _codes(found: type[errors.TierwrightError]) -> set[str]:
    children = [child for child in found.__subclasses__() if child.__module__ == errors.__name__]
    return {found.code}.union(*(_codes(child) for child in children))


@pytest.mark.parametrize("page", ["reference/errors.md", "howto/operate.md"])
def test_every_error_code_is_explained(page: str) -> None:
    text = (DOCS / page).read_text("utf-8")
    listed = set(re.findall(r"^\| `([a-z-]+)` \|", text, re.MULTILINE))
    abstract = {"tierwright-error", "configuration-error", "database-error", "migration-error"}
    abstract |= {"entitlement-error", "write-refused", "secrets-error", "archive-error"}
    assert _codes(errors.TierwrightError) - abstract <= listed


@pytest.mark.parametrize("kind", [Reason, Source, Availability])
def test_every_reason_source_and_availability_is_explained(kind: Any) -> None:
    assert [member for member in kind if member not in TOOL.MEANINGS] == []
    page = (DOCS / "reference" / "decisions.md").read_text("utf-8")
    for member in kind:
        assert f"| `{member.value}` | {TOOL.MEANINGS[member][0]} |" in page


def test_every_reason_is_mapped_to_openfeature_on_the_page() -> None:
    table = (DOCS / "reference" / "decisions.md").read_text("utf-8").partition("## OpenFeature")[2]
    assert set(re.findall(r"^\| `([A-Z_]+)` \|", table, re.MULTILINE)) == {reason.value for reason in Reason}


def test_every_public_name_is_in_the_reference() -> None:
    pages = "".join((DOCS / "reference" / name).read_text("utf-8") for name in ("entitlements.md", "registry.md"))
    assert [name for name in tierwright.__all__ if f"\n## {name}\n" not in pages] == []


def test_every_table_is_in_the_diagram() -> None:
    diagram = (DOCS / "reference" / "erd.md").read_text("utf-8")
    for table in tables.TABLE_NAMES:
        assert f"    {table} {{" in diagram


def test_every_optimisation_of_the_seed_is_in_the_summary() -> None:
    summary = (DOCS / "explanation" / "optimization-summary.md").read_text("utf-8")
    revision = next((ROOT / "alembic" / "versions").glob("d8e9f0a1b2c3_*.py")).read_text("utf-8")
    names = re.findall(r'"((?:idx|fk|chk)_\w+)"', revision)
    assert len(names) == 10
    for name in names:
        assert f"`{name}`" in summary


def test_every_file_and_test_that_the_documentation_names_exists() -> None:
    named = re.compile(r"`((?:tests|src|alembic|tools|benchmarks|examples)/[\w./]+)(?:::(\w+))?`")
    for page in [ROOT / "README.md", *DOCS.rglob("*.md")]:
        for path, function in named.findall(page.read_text("utf-8")):
            where = f"{page.relative_to(ROOT)} names {path}::{function}"
            assert (ROOT / path).exists(), where
            assert not function or f"\ndef {function}(" in (ROOT / path).read_text("utf-8"), where


def _named(command: Any, path: str = "tierwright") -> Iterator[str]:
    """Yield every command and option of the command line."""
    for parameter in command.params:
        yield from (option for option in parameter.opts if option.startswith("--"))
    for name, child in getattr(command, "commands", {}).items():
        if not hasattr(child, "commands"):
            yield f"## {path} {name}\n"
        yield from _named(child, f"{path} {name}")


def test_every_command_and_option_is_on_the_page() -> None:
    page = (DOCS / "reference" / "command-line.md").read_text("utf-8")
    completion = {"--install-completion", "--show-completion"}
    named = set(_named(typer.main.get_command(app))) - completion
    assert len(named) > 10
    assert [name for name in named if name not in page] == []
