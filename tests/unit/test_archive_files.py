"""Archives and their lines without a database: what is written is read back exactly, and what was changed is told."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tierwright.audit import UnreadableRow, archive_files, read_archive, verify_archive
from tierwright.audit.archive_files import write_archive
from tierwright.audit.archive_lines import line_of, line_of_stored, split, stored_value, values_of
from tierwright.errors import ArchiveDamaged, HistoryUnreadable

COLUMNS = ("id", "performed_at", "new_value", "reason")
ID = "0198c0de-0000-7000-8000-000000000001"
LINE = f'{{"id":"{ID}","performed_at":"2025-11-05T00:00:00.000000Z","new_value":{{"a":1}}}}'
DEEP = "[" * 100_000 + "]" * 100_000


def write(folder: Path, *lines: str, month: str = "2025-11", part: int = 1) -> Path:
    return folder / write_archive(folder, month, part, COLUMNS, "sqlite", lines).file


def forge(folder: Path, content: bytes, **said: Any) -> Path:
    """Make an archive of a content whose manifest fits it, as far as hashes go."""
    path = write(folder, LINE)
    manifest = Path(f"{path}.manifest.json")
    path.write_bytes(gzip.compress(content, mtime=0))
    fitting = {
        "bytes": path.stat().st_size,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "content_sha256": hashlib.sha256(content).hexdigest(),
        "rows": content.count(b"\n"),
    }
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | fitting | said))
    return path


@pytest.mark.parametrize(
    "value", ["9" * 5000, "-0.0", "1E+400", DEEP, '{"a":"]}\\"","b":[1.50]}', '"\\ud800"'], ids=lambda value: value[:9]
)
def test_json_stands_in_a_line_as_it_is_also_what_python_does_not_read(value: str) -> None:
    line = line_of(COLUMNS, (ID, "2025-11-05T00:00:00.000000Z", value, None))
    assert split(line)["new_value"] == value
    assert values_of(line)["new_value"] == value


@pytest.mark.parametrize(
    "value",
    [float("inf"), float("-inf"), 2**62, 0.1, DEEP, '{"big":' + "9" * 5000 + "}", "no json", b"\xff"],
    ids=lambda value: repr(value)[:9],
)
def test_sqlite_gets_back_what_it_had(value: Any) -> None:
    found = values_of(line_of_stored(COLUMNS, (ID.replace("-", ""), "2025-11-05 00:00:00.000000", value, None)))
    again = stored_value("new_value", found["new_value"])
    assert (float(again) if isinstance(value, float) else int(again) if isinstance(value, int) else again) == value


def test_the_bytes_of_another_archive_are_never_replaced(tmp_path: Path) -> None:
    first, again, other = write(tmp_path, LINE), write(tmp_path, LINE), write(tmp_path, LINE.replace("1}", "2}"))
    assert first == again
    assert other.name == "feature_audit_log_2025_11.2.jsonl.gz"
    assert verify_archive(other).part == 2
    assert [entry.new_value for path in (first, other) for entry in read_archive(path)] == [{"a": 1}, {"a": 2}]
    first.unlink()  # moved elsewhere, and its manifest was left behind
    assert write(tmp_path, LINE).name == "feature_audit_log_2025_11.3.jsonl.gz"


def forged(folder: Path) -> Iterator[tuple[str, Path]]:
    line = LINE.encode() + b"\n"
    for said, content in (
        ("no JSON object", LINE.encode() + b"more\n"),
        ("no JSON object", line.replace(b"}\n", b"}\r\n")),
        ("no JSON object", line.replace(b'"new_value"', b'"id"')),
        ("no JSON object", b'{"id":' + b"[" * 100_000 + b"\n"),
        ("no JSON object", line.replace(b'{"a":1}', b"NaN")),
        ("or is there twice", line.replace(b'"new_value"', b'"other"')),
        ("or is there twice", line + line),
        ("moments", line.replace(b"2025-11-05", b"2025-11-06")),
        ("longer than", line.replace(b'{"a":1}', b"1" * 200_000)),
    ):
        yield said, forge(folder, content)
    for said, changed in (
        ("names no columns", {"columns": "id"}),
        ("names no columns", {"columns": [*COLUMNS, 1]}),
        ("names no columns", {"columns": [*COLUMNS, "id"]}),
        ("names no columns", {"columns": ["id"]}),
        ("for a number", {"month": 5}),
        ("for a number", {"part": True}),
        ("names no month", {"month": "2025-11'; DROP TABLE"}),
        ("names no month", {"month": "0000-01"}),
    ):
        yield said, forge(folder, line, **changed)


def test_an_archive_that_only_its_hashes_fit_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_files, "_LONGEST", 200_000)
    monkeypatch.setattr(archive_files, "_is_free", lambda *_: True)
    for said, path in forged(tmp_path):
        with pytest.raises(ArchiveDamaged, match=said):
            verify_archive(path)
    with pytest.raises(ArchiveDamaged, match="line 1 is no entry"):
        list(read_archive(forge(tmp_path, LINE.replace(f'"id":"{ID}",', "").encode() + b"\n")))


def test_a_row_that_could_not_be_read_before_is_told_and_its_archive_is_whole(tmp_path: Path) -> None:
    path = forge(tmp_path, LINE.replace(ID, "nobody").encode() + b"\n" + LINE.encode() + b"\n")
    with pytest.raises(HistoryUnreadable):
        list(read_archive(path))
    told: list[UnreadableRow] = []
    assert [str(entry.id) for entry in read_archive(path, unreadable=told.append)] == [ID]
    assert [str(row) for row in told] == [f"id of a row cannot be read: line 1 of {path.name}"]
