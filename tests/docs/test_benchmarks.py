"""The tables of the benchmarks page are those of the stored results, and none of them is empty."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from benchmarks import tables


def test_the_tables_are_those_of_the_results(tmp_path: Path) -> None:
    page = Path(shutil.copy(tables.PAGE, tmp_path))
    tables.main(page=page)
    assert page.read_text("utf-8") == tables.PAGE.read_text("utf-8"), "run python -m benchmarks.tables"


def test_every_marker_has_a_table() -> None:
    text = tables.PAGE.read_text("utf-8")
    blocks = dict(re.findall(r"<!-- table: (\S+) -->\n(.*?)<!-- end -->", text, re.DOTALL))
    assert len(blocks) == text.count("<!-- table: ")
    assert len(blocks) >= 10
    # The line of versions is the only block that is no table.
    assert blocks.pop("skipped").strip()
    assert [name for name, body in blocks.items() if body.count("\n| ") < 3] == []
