"""What a host's own Alembic environment needs to live beside our chain, or to carry it.

Beside it (the default): our tables have a version table of their own, and the host's autogenerate must not see them.
Carrying it: our folder becomes one of the host's ``version_locations``.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, TypedDict

from alembic.config import Config
from alembic.script import Script, ScriptDirectory

from tierwright.errors import RevisionCollision
from tierwright.migrations.location import chain_path
from tierwright.migrations.names import PARTITIONED_TABLES, TABLE_NAMES, VERSION_TABLE, is_partition_name
from tierwright.migrations.runner import chain

#: What SQLAlchemy says of an index of an expression on SQLite, which it cannot read.
_UNREADABLE = "Skipped unsupported reflection of expression-based index idx_tenant_integration_region"


class AutogenerateFilters(TypedDict):
    """Arguments for ``context.configure`` in the host's ``env.py``."""

    include_name: Callable[[str | None, str, Any], bool]
    include_object: Callable[[Any, str | None, str, bool, Any], bool]


def autogenerate_filters(*, schema: str | None = None, version_table: str = VERSION_TABLE) -> AutogenerateFilters:
    """Return filters that keep our tables out of a host's ``alembic revision --autogenerate``.

    Use them as ``context.configure(..., **autogenerate_filters())``. Both are needed: ``include_name`` hides our
    tables in the database, ``include_object`` hides them in ``SQLModel.metadata``; the first alone would make
    autogenerate propose to create them.

    From then on Python keeps one warning to itself: that SQLAlchemy cannot read one of our indexes on SQLite. Alembic
    has it read where the host has no table yet.

    Args:
        schema: where our tables are, if the host reflects more than its default schema.
        version_table: our version table, if it has another name.
    """
    warnings.filterwarnings("ignore", re.escape(_UNREADABLE))
    ours = {*TABLE_NAMES, version_table}

    def include_name(name: str | None, type_: str, parent_names: Any) -> bool:
        if type_ != "table" or not _is_ours(name, ours):
            return True
        return parent_names.get("schema_name") not in (None, schema)

    def include_object(subject: Any, name: str | None, type_: str, reflected: bool, compare_to: Any) -> bool:
        table = subject if type_ == "table" else getattr(subject, "table", None)
        if table is None:
            return True
        if not reflected:
            return not table.info.get("tierwright", False)
        return not _is_ours(table.name, ours) or table.schema not in (None, schema)

    return {"include_name": include_name, "include_object": include_object}


def _is_ours(name: str | None, tables: set[str]) -> bool:
    return name in tables or any(is_partition_name(table, name or "") for table in PARTITIONED_TABLES)


def merge_into(config: Config) -> None:
    """Make our chain one of the branches of a host's own Alembic configuration.

    Call it before ``alembic.command.upgrade(config, "heads")``, or at the top of the host's ``env.py`` to be told of
    a collision. It adds our folder to ``version_locations``; our revisions carry the branch label ``tierwright``.

    Raises:
        RevisionCollision: the host has a revision with an id of ours: one of the two would be lost.
    """
    folder = str(chain_path() / "versions")
    locations = config.get_version_locations_list() or [_default_location(config)]
    refuse_collisions([location for location in locations if location != folder])
    if folder not in locations:
        config.set_main_option("path_separator", "newline")
        config.set_main_option("version_locations", "\n".join([*locations, folder]).replace("%", "%%"))


def refuse_collisions(locations: list[str]) -> None:
    """Refuse a host's revisions that carry an id of ours.

    Raises:
        RevisionCollision: with the ids and files.
    """
    ours = {script.revision for script in chain().walk_revisions()}
    found = {script.revision: script.path for location in locations for script in _scripts(location)}
    collisions = {revision: str(path) for revision, path in found.items() if revision in ours}
    if collisions:
        raise RevisionCollision(
            f"The application's own chain has revisions with our ids: {', '.join(collisions)}.",
            remedy="Give them other ids (`alembic revision --rev-id`), or use our chain beside yours.",
            details={"collisions": collisions},
        )


def _default_location(config: Config) -> str:
    return f"{config.get_main_option('script_location')}/versions"


def _scripts(location: str) -> list[Script]:
    directory = ScriptDirectory(location, version_locations=[location])
    return list(directory._load_revisions())
