"""The options that commands of ``tierwright catalog`` share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

File = Annotated[
    Path, typer.Argument(metavar="FILE", help="A YAML, JSON or TOML file, a folder of them, or - for standard input.")
]
Prune = Annotated[
    bool, typer.Option("--prune", help="Delete what left the document, where nothing refers to it; else it is retired.")
]
AllowLoss = Annotated[
    bool, typer.Option("--allow-loss", help="Apply it although tenants lose features, or have lower limits.")
]
Sample = Annotated[int, typer.Option("--sample", min=0, max=10_000, help="How many of each kind are shown.")]
ExitCode = Annotated[bool, typer.Option("--exit-code", help="End with 4 if there is a difference.")]
