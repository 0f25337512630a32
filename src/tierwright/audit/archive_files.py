"""Archives as files: gzipped lines, and beside them a manifest that says what they must be.

A file gets its name only after it was read back and found whole; the manifest comes last. So an archive with a manifest
is complete. A name that is taken by other bytes is left alone: they may be all that is left of somebody's rows.
"""

from __future__ import annotations

import errno
import gzip
import hashlib
import json
import os
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

from tierwright.audit.archive_lines import entry_of, split, values_of
from tierwright.audit.archive_manifest import FORMAT, MANIFEST, Manifest, archive_name, damaged, read_manifest
from tierwright.audit.entries import AuditEntry
from tierwright.audit.reading import UnreadableRow, readable
from tierwright.errors import ArchiveNotWritten

_LEVEL = 6
_BLOCK = 2**20
#: What file systems answer that do not know what they are asked for, such as those that are a service elsewhere.
UNABLE = frozenset({errno.EACCES, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK})
#: Bytes of a line, which is held in memory: a small file can pretend to be a huge one.
_LONGEST = 2**26


def write_archive(
    folder: Path, month: str, part: int, columns: tuple[str, ...], dialect: str, lines: Iterable[str]
) -> Manifest:
    """Write an archive, read it back, and give it a name that is free; one of the same bytes is used again.

    Args:
        folder: where to.
        month, part, columns, dialect: for the manifest. The part is the first that may be free: another database may
            have its archives in the same folder, and a killed run, or one before the database was restored, its own.
        lines: of the rows, without their ends.

    Returns:
        Its manifest.

    Raises:
        ArchiveNotWritten: the folder is not there, not writable, or full; nothing of it is left.
        ArchiveDamaged: what was read back is not what was written.
    """
    name = archive_name(month, part)
    temporary = folder / f".{name}.{os.getpid()}.tmp"
    with _written(temporary):
        manifest = _write(temporary, Manifest(FORMAT, name, month, part, 0, "", "", columns, dialect, 0, "", ""), lines)
        _check(temporary, manifest)
        while not _is_free(folder / manifest.file, manifest):
            part = manifest.part + 1
            manifest = replace(manifest, part=part, file=archive_name(month, part))
        name = manifest.file
        os.replace(temporary, folder / name)
    temporary = folder / f".{name}{MANIFEST}.{os.getpid()}.tmp"
    with _written(temporary):
        with temporary.open("w", encoding="utf-8") as file:
            json.dump(manifest.as_dict(), file, indent=1)
            file.write("\n")
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, folder / f"{name}{MANIFEST}")
        _sync(folder)
    return manifest


def verify_archive(path: Path) -> Manifest:
    """Read an archive and check that it is what its manifest says; needs no database.

    Args:
        path: of the file; the manifest lies beside it.

    Raises:
        ArchiveDamaged: it is not, or one of the two cannot be read.
    """
    manifest = read_manifest(path)
    _check(path, manifest)
    return manifest


def read_lines(path: Path) -> Iterator[str]:
    """Yield the lines of an archive, which somebody has verified.

    Raises:
        ArchiveDamaged: it cannot be read to its end.
    """
    try:
        with gzip.open(path) as file:
            while line := file.readline(_LONGEST + 1):
                if len(line) > _LONGEST:
                    raise damaged(path, f"a line of it is longer than {_LONGEST} bytes")
                yield line.decode().removesuffix("\n")
    except (OSError, EOFError, zlib.error, UnicodeDecodeError) as error:
        raise damaged(path, f"it cannot be read ({type(error).__name__})") from error


def read_archive(path: Path, *, unreadable: Callable[[UnreadableRow], object] | None = None) -> Iterator[AuditEntry]:
    """Yield the entries of an archive, the oldest first, after it was verified; ``tenant_history`` takes them.

    Args:
        path: of the file; the manifest lies beside it.
        unreadable: called with each row that cannot be read as an entry, and could not be before it was archived.

    Raises:
        ArchiveDamaged: it is not what its manifest says.
        HistoryUnreadable: there is such a row, and ``unreadable`` was not given.
    """
    verify_archive(path)
    return readable(_rows(path), unreadable)


def _rows(path: Path) -> Iterator[AuditEntry | UnreadableRow]:
    for number, line in enumerate(read_lines(path), start=1):
        try:
            values = values_of(line)
            values["id"], values["performed_at"]
        except (ValueError, KeyError, RecursionError) as error:
            raise damaged(path, f"line {number} is no entry") from error
        yield entry_of(values, f"line {number} of {path.name}")


def _write(path: Path, manifest: Manifest, lines: Iterable[str]) -> Manifest:
    content, rows, first, last = hashlib.sha256(), 0, "", ""
    # Nothing of the moment or the name of the file: the same rows make the same bytes.
    with path.open("wb") as raw:
        with gzip.GzipFile("", "wb", _LEVEL, raw, mtime=0) as file:
            for line in lines:
                data = line.encode() + b"\n"
                content.update(data)
                file.write(data)
                first, last, rows = first or line, line, rows + 1
        raw.flush()
        os.fsync(raw.fileno())
    size, digest = _of_file(path)
    return Manifest(
        **{
            **manifest.as_dict(),
            "columns": manifest.columns,
            "rows": rows,
            "first": _moment(split(first)) if rows else "",
            "last": _moment(split(last)) if rows else "",
            "bytes": size,
            "sha256": digest,
            "content_sha256": content.hexdigest(),
        }
    )


def _check(path: Path, manifest: Manifest) -> None:
    try:
        found = _of_file(path)
    except OSError as error:
        raise damaged(path, f"it cannot be read ({type(error).__name__})") from error
    if found != (manifest.bytes, manifest.sha256):
        raise damaged(path, "its bytes are not those of the manifest")
    content, rows, first, before, columns = hashlib.sha256(), 0, "", "", set(manifest.columns)
    for rows, line in enumerate(read_lines(path), start=1):
        content.update(line.encode() + b"\n")
        try:
            values = split(line)
        except ValueError as error:
            raise damaged(path, f"line {rows} is no JSON object") from error
        if not {name.partition("!")[0] for name in values if name not in columns} <= columns or line == before:
            raise damaged(path, f"line {rows} has other columns than the manifest, or is there twice")
        first, before = first or line, line
    if (rows, content.hexdigest()) != (manifest.rows, manifest.content_sha256):
        raise damaged(path, "its lines are not those of the manifest")
    moments = (_moment(split(first)), _moment(values)) if rows else ("", "")
    if moments != (manifest.first, manifest.last):
        raise damaged(path, "its moments are not those of the manifest")


def _moment(values: dict[str, str]) -> str:
    """Return the moment of a line, as the manifest has it."""
    raw = values.get("performed_at", "")
    return str(json.loads(raw)) if raw.startswith('"') else raw


def _is_free(path: Path, manifest: Manifest) -> bool:
    """Tell whether an archive may have a name: nothing has it, also no manifest alone, or the same bytes."""
    if path.exists():
        return _of_file(path) == (manifest.bytes, manifest.sha256)
    return not Path(f"{path}{MANIFEST}").exists()


def _of_file(path: Path) -> tuple[int, str]:
    size, digest = 0, hashlib.sha256()
    with path.open("rb") as file:
        while data := file.read(_BLOCK):
            size += len(data)
            digest.update(data)
    return size, digest.hexdigest()


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Say what an error of the system means here.

    Raises:
        ArchiveNotWritten: the folder is not writable, or full.
    """
    try:
        yield
    except OSError as error:
        raise ArchiveNotWritten(
            f"{str(folder)!a} cannot take an archive: {error.strerror}.",
            remedy="Make room there, or name another folder that is there and writable; then run it again.",
            details={"folder": str(folder)},
        ) from error


@contextmanager
def _written(temporary: Path) -> Iterator[None]:
    try:
        with unwritable(temporary.parent):
            yield
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Make the new names last; a system that cannot sync a folder keeps them in its own way."""
    try:
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
    except OSError as error:
        if error.errno not in UNABLE:
            raise
