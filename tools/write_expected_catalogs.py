"""Write the catalogue of head for each dialect, after a new revision: the files that doctor compares with.

    python tools/write_expected_catalogs.py sqlite:///scratch.sqlite3 postgresql://localhost/scratch

Each database must be empty; it is left at head. The test suite refuses files that do not match the chain.
"""

import json
import sys
from pathlib import Path

from tierwright.migrations import catalog, upgrade
from tierwright.migrations.urls import migration_engine

FOLDER = Path(catalog.__file__).parent / "expected"


def main(urls: list[str]) -> None:
    """Migrate each database and write what it then says of itself."""
    for url in urls:
        engine = migration_engine(url)
        upgrade(engine)
        with engine.connect() as connection:
            text = json.dumps(catalog.read(connection), indent=1, ensure_ascii=True) + "\n"
        (FOLDER / f"{engine.dialect.name}.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
