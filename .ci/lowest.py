"""Print the lowest versions that pyproject.toml promises, as pip constraints."""

import re
import tomllib
from pathlib import Path

project = tomllib.loads(Path("pyproject.toml").read_text())["project"]
extras = project["optional-dependencies"].values()
for requirement in [*project["dependencies"], *(item for extra in extras for item in extra)]:
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)(\[[^]]*\])?>=([0-9.]+)", requirement)
    if match is None:
        raise SystemExit(f"no floor that can be tested: {requirement}")
    print(f"{match[1]}=={match[3]}")  # noqa: T201  printing is what this is for
