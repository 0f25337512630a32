"""Where the migration scripts are: in a wheel, in an editable install, in a checkout."""

from __future__ import annotations

from pathlib import Path

from tierwright.errors import ChainNotFound


def chain_path() -> Path:
    """Return the folder that holds ``env.py`` and ``versions/``.

    A wheel carries the folder inside the package; a checkout (and so an editable install) has it at its top.

    Raises:
        ChainNotFound: neither place has it, so the installation is damaged.
    """
    package = Path(__file__).resolve().parent
    candidates = (package / "chain", package.parents[2] / "alembic")
    for folder in candidates:
        if (folder / "env.py").is_file() and (folder / "versions").is_dir():
            return folder
    raise ChainNotFound(
        "The migration scripts were not found beside the package.",
        remedy="Reinstall tierwright: its wheel carries them.",
        details={"searched": [str(folder) for folder in candidates]},
    )
