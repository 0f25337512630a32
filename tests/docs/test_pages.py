"""Every Python and shell example of the README and the documentation runs, and prints what the page shows."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import EXTERNAL
from tests.docs import run_page

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = run_page.RUN | {"text", "sql", "ini", "mermaid", "json", "yaml"}

#: page -> how many of its examples are not run, each with its reason in the page's source
NOT_RUN = {"README.md": 2, "docs/howto/isolation.md": 1}


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_examples_run(page: Path, tmp_path: Path, servers: Any) -> None:
    text = page.read_text("utf-8")
    if not any(block.language in run_page.RUN for block in run_page.blocks(text)):
        return
    command = [sys.executable, "-W", "error", run_page.__file__, str(page)]
    if run_page.POSTGRESQL not in text:
        _run(command, tmp_path)
        return
    databases = servers(0 if EXTERNAL else 18)
    name = databases.create()
    try:
        _run([*command, databases.address(name)], tmp_path)
    finally:
        databases.drop(name)


def _run(command: list[str], folder: Path) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("DATABASE_", "TIERWRIGHT_"))}
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
    environment["COLUMNS"] = "160"  # a narrow terminal would fold the tables that the pages show
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr


def test_examples_that_are_not_run_are_few_and_say_why() -> None:
    found = {}
    for page in PAGES:
        reasons = [block.not_run for block in run_page.blocks(page.read_text("utf-8")) if block.not_run is not None]
        assert all(len(reason) > 20 for reason in reasons), page
        if reasons:
            found[page_name(page)] = len(reasons)
    assert found == NOT_RUN


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_fence_is_understood(page: Path) -> None:
    text = page.read_text("utf-8")
    found = list(run_page.blocks(text))
    assert sum(line.lstrip().startswith("```") for line in text.splitlines()) == 2 * len(found), "an indented fence?"
    assert {block.language for block in found} <= LANGUAGES
    for block in found:
        assert block.marker == "" or block.not_run is not None or block.exit_code, block
