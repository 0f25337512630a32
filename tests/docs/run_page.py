"""Run the examples of one page in the order in which they stand, as a reader would, in an empty folder.

    python run_page.py PAGE [POSTGRESQL_URL]

- ``python`` blocks share one namespace; ``console`` and ``bash`` blocks are run line by line with bash.
- A block with ``title="some/file.py"`` is written to that file instead.
- ``text title="output"`` is what the block before it prints. Lines of a ``console`` block without ``$`` are what the
  command before them prints. Both are compared loosely: in order, whatever the space; ``...`` stands for anything.
- ``<!-- example: exit 1 -->`` before a block: its last command ends with that code.
- ``<!-- example: not run: reason -->`` before a block: it is not run. The test suite counts these.
- ``postgresql://app@db/app`` in a page is the PostgreSQL database that the page is run with.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

POSTGRESQL = "postgresql://app@db/app"
RUN = {"python", "console", "bash", "sh", "shell"}
_NEEDS_A_SHELL = re.compile(r"[|<>&;$`*?~(){}]")
_FENCE = re.compile(
    r"(?:^<!-- example: (?P<marker>[^\n]*?) -->\n\n?)?"
    r"^```(?P<language>[\w-]*)(?: title=\"(?P<title>[^\"]*)\")?[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Block:
    """A fenced block: where its text begins, what it is, and what stands in the marker before it."""

    line: int
    language: str
    title: str | None
    marker: str
    text: str

    @property
    def not_run(self) -> str | None:
        """The reason for which an example is not run, if there is one."""
        return self.marker.removeprefix("not run: ") if self.marker.startswith("not run: ") else None

    @property
    def exit_code(self) -> int:
        """How the block's last command ends."""
        return int(self.marker.removeprefix("exit ")) if self.marker.startswith("exit ") else 0


def blocks(page: str) -> Iterator[Block]:
    """Yield the fenced blocks of a page."""
    for match in _FENCE.finditer(page):
        line = page.count("\n", 0, match.start("text")) + 1
        yield Block(line, match["language"], match["title"], match["marker"] or "", match["text"])


def run(path: Path) -> None:
    """Run every example of a page; raise at the first that fails."""
    namespace: dict[str, Any] = {"__name__": "example"}
    printed = ""
    for block in blocks(path.read_text("utf-8")):
        text = block.text.replace(POSTGRESQL, sys.argv[2] if len(sys.argv) > 2 else POSTGRESQL)
        if block.not_run is not None:
            continue
        if block.title == "output":
            compare(text.splitlines(), printed, f"{path.name}:{block.line}")
        elif block.title is not None:
            Path(block.title).parent.mkdir(parents=True, exist_ok=True)
            Path(block.title).write_text(text, "utf-8")
        elif block.language == "python":
            printed = run_python("\n" * (block.line - 1) + text, path, namespace)
        elif block.language in RUN:
            run_commands(text, block, f"{path.name}:{block.line}")


def run_python(source: str, path: Path, namespace: dict[str, Any]) -> str:
    """Run a block, with the page's line numbers in its tracebacks, and return what it prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, str(path), "exec"), namespace)
    return printed.getvalue()


def run_commands(text: str, block: Block, where: str) -> None:
    """Run the commands of a block and compare what each prints with the lines below it."""
    commands: list[tuple[str, list[str]]] = []
    for line in text.replace("\\\n", " ").splitlines():
        if block.language != "console" or line.startswith("$ "):
            commands.append((line.removeprefix("$ "), []))
        else:
            commands[-1][1].append(line)
    for number, (command, expected) in enumerate(commands, 1):
        wanted = block.exit_code if number == len(commands) else 0
        compare(expected, run_command(command, wanted, where), where)


def run_command(command: str, wanted: int, where: str) -> str:
    """Run one command line and return what it prints; ``export`` holds for the rest of the page."""
    words = shlex.split(command, comments=True)
    if words[:1] == ["export"]:
        os.environ.update(word.split("=", 1) for word in words[1:])
        return ""
    if words[:1] == ["tierwright"] and not _NEEDS_A_SHELL.search(command) and threading.active_count() == 1:
        code, printed = run_tierwright(words[1:])
    else:
        done = subprocess.run(["bash", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        code, printed = done.returncode, done.stdout
    if code != wanted:
        raise AssertionError(f"{where}: `{command}` ended with {code}, not {wanted}:\n{printed}")
    return printed


def run_tierwright(arguments: list[str]) -> tuple[int, str]:
    """Run our command in a copy of this process: importing everything anew is most of what a command takes."""
    import tierwright.cli.app  # noqa: F401  once, for all copies

    with tempfile.TemporaryFile() as output:
        child = os.fork()
        if child == 0:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
            os._exit(_ended(arguments))
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        output.seek(0)
        return code, output.read().decode()


def _ended(arguments: list[str]) -> int:
    """Return how the command ends, in the copy."""
    from tierwright.cli import main

    sys.argv = ["tierwright", *arguments]
    code: object = 0
    try:
        main()
    except SystemExit as end:
        code = end.code
    except BaseException:  # what Python itself would print before it ends
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)


def compare(expected: list[str], printed: str, where: str) -> None:
    """Refuse output in which a line that the page shows is missing, or stands before its turn."""
    rest = [" ".join(line.split()) for line in printed.splitlines()]
    for line in expected:
        pattern = re.escape(" ".join(line.split())).replace(re.escape("..."), ".*")
        position = next((i for i, found in enumerate(rest) if re.fullmatch(pattern, found)), None)
        if position is None:
            raise AssertionError(f"{where}: the page shows\n  {line}\nbut this was printed:\n{printed}")
        rest = rest[position + 1 :]


if __name__ == "__main__":
    run(Path(sys.argv[1]))
