"""How a migration runs: schema, version table, patience, progress."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tierwright.errors import ConfigurationError
from tierwright.migrations.names import VERSION_TABLE

logger = logging.getLogger("tierwright.migrations")

Progress = Callable[[str], None]
#: The key under which the options travel in Alembic's ``Config.attributes`` and ``MigrationContext.opts``.
OPTIONS_KEY = "tierwright_options"
#: The key in ``MigrationContext.opts`` of the definitions that this transaction has surveyed already.
SURVEYED_KEY = "tierwright_surveyed"
#: The key in ``MigrationContext.opts`` of the tables that a later step of this run drops.
DROPPED_KEY = "tierwright_dropped"


@dataclass(frozen=True)
class MigrationOptions:
    """Settings of one run of the chain.

    Attributes:
        schema: PostgreSQL schema; None is the connection's own ``current_schema()``.
        version_table: the table that records the revision.
        lock_timeout: seconds that one DDL statement may wait for its lock, and so stall others behind it.
        lock_wait: seconds to go on retrying, for such a lock or for another migrator, before giving up.
        progress: called with one line for each step that may take long.
    """

    schema: str | None = None
    version_table: str = VERSION_TABLE
    lock_timeout: float = 0.05
    lock_wait: float = 600.0
    progress: Progress | None = None

    def announce(self, step: str) -> None:
        """Log ``step`` and pass it to the caller's progress function."""
        logger.info(step)
        if self.progress is not None:
            self.progress(step)

    @classmethod
    def from_environment(cls, arguments: Mapping[str, str]) -> MigrationOptions:
        """Read the options of a plain ``alembic`` command: ``-x`` arguments first, then the environment.

        Args:
            arguments: ``schema``, ``version_table``, ``lock_timeout`` and ``lock_wait``, as text.

        Raises:
            ConfigurationError: a number is not one.
        """
        return cls(
            schema=arguments.get("schema") or os.environ.get("TIERWRIGHT_SCHEMA") or None,
            version_table=arguments.get("version_table") or VERSION_TABLE,
            lock_timeout=_seconds("lock_timeout", arguments, cls.lock_timeout),
            lock_wait=_seconds("lock_wait", arguments, cls.lock_wait),
        )


def options_of(carrier: Mapping[str, Any]) -> MigrationOptions:
    """Return the options that a run of ours left in ``carrier``, or the defaults in a host's own environment."""
    found = carrier.get(OPTIONS_KEY)
    return found if isinstance(found, MigrationOptions) else MigrationOptions()


def _seconds(name: str, arguments: Mapping[str, str], default: float) -> float:
    text = arguments.get(name) or os.environ.get(f"TIERWRIGHT_{name.upper()}")
    if not text:
        return default
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 < seconds < 86_400:
        raise ConfigurationError(
            f"{name} is {text!r}.", remedy="Give a number of seconds above 0 and below 86400.", details={name: text}
        )
    return seconds
