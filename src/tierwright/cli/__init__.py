"""The command ``tierwright``, for operators and scripts.

Exit codes, covered by semantic versioning:

    0    done; nothing found
    1    findings; or denied (``evaluate``); or refused: by the chain, by a write, or by you when asked
    2    wrong usage or configuration: options, URL, driver
    3    the database cannot be reached or written; nobody can tell (``evaluate``)
    4    there is a difference (``catalog plan`` and ``diff`` with ``--exit-code``)
    130  interrupted

Results go to standard output, progress and errors to standard error; with ``--json`` results and errors are JSON on
standard output.
"""

from __future__ import annotations

import io
import sys


def main() -> None:
    """Run the command; without the extra ``cli`` say how to install it."""
    try:
        import rich  # noqa: F401
        import typer  # noqa: F401
    except ModuleNotFoundError as error:
        sys.stderr.write(f"The command needs {error.name}: pip install 'tierwright[cli]'\n")
        sys.exit(2)
    from tierwright.cli.app import app

    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that the terminal's encoding lacks is no failure
    app()
