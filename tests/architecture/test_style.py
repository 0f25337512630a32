"""No file that a newcomer dreads to open."""

from __future__ import annotations

from pathlib import Path

import pytest

import tierwright

ROOT = Path(__file__).parents[2]
MODULES = sorted(Path(tierwright.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT / "src")))
def test_a_module_is_short(module: Path) -> None:
    assert len(module.read_text("utf-8").splitlines()) <= 300


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120
