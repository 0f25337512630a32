"""The revisions are frozen, linear, and free of live code."""

from __future__ import annotations

import ast
import sys
from pathlib import Path

import pytest

from tierwright.migrations.location import chain_path
from tierwright.migrations.runner import chain

VERSIONS = sorted((chain_path() / "versions").glob("*.py"))
ALLOWED = ("alembic", "sqlalchemy", "tierwright.migrations", *sys.stdlib_module_names)


@pytest.mark.parametrize("file", VERSIONS, ids=lambda file: file.stem)
def test_a_revision_imports_nothing_live(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        for module in imported(node):
            assert any(module == name or module.startswith(f"{name}.") for name in ALLOWED), module


def test_the_chain_folder_is_no_package() -> None:
    """It would shadow Alembic."""
    assert not (chain_path() / "__init__.py").exists()


def test_history_is_linear_and_its_head_is_recorded() -> None:
    """Two revisions written in parallel conflict in the file HEAD when they are merged."""
    revisions = list(chain().walk_revisions())
    assert len(chain().get_heads()) == 1
    assert len(chain().get_bases()) == 1
    assert not any(revision.is_merge_point or revision.is_branch_point for revision in revisions)
    assert (chain_path() / "versions" / "HEAD").read_text("utf-8").split() == [revisions[0].revision]
    assert len(revisions) == len(VERSIONS)


def test_the_base_revision_carries_the_branch_label() -> None:
    assert chain().get_revision("tierwright@head").revision == chain().get_current_head()


def imported(node: ast.AST) -> list[str]:
    """Return the modules that an import statement names."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
