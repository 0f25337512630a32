"""One small public door."""

from __future__ import annotations

import subprocess
import sys

import tierwright


def test_the_public_names_are_few_and_all_there() -> None:
    assert sorted(tierwright.__all__) == [
        "AsyncEntitlements",
        "AuditContext",
        "Availability",
        "Decision",
        "Entitlements",
        "Reason",
        "Registry",
        "SnapshotStore",
        "Source",
        "TierwrightError",
        "run_in_transaction",
        "run_in_transaction_async",
    ]
    assert len(tierwright.__all__) <= 12
    for name in tierwright.__all__:
        assert getattr(tierwright, name).__doc__, name
    assert set(tierwright.__all__) <= set(dir(tierwright))


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = "import sys, tierwright; print({'sqlalchemy', 'pydantic', 'alembic'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
