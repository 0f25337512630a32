"""No file that a newcomer dreads to open."""

from __future__ import annotations

from pathlib import Path

import pytest

import tierwright

ROOT = Path(__file__).parents[2]
MODULES = sorted(Path(tierwright.__file__).parent.rglob("*.py"))


@pytest.mark.parametrize("module", MODULES, ids=lambda module: str(module.relative_to(ROOT / "src")))
def test_a_module_is_short(module: Path) -> None:
    # The errors are a flat list under the drawing of their tree; one looks one up, and reads no further.
    longest = 400 if module.name == "errors.py" else 300
    assert len(module.read_text("utf-8").splitlines()) <= longest


def test_the_readme_fits_on_a_few_screens() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= 120
