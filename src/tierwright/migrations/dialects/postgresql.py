"""The helper layer on PostgreSQL: online, resumable, one short lock at a time.

``NOT VALID`` then ``VALIDATE``, and ``CONCURRENTLY``, do not block writers; but each statement must commit on its
own, so everything runs in Alembic's autocommit block and can be run again after a crash.
https://www.postgresql.org/docs/current/sql-altertable.html#SQL-ALTERTABLE-NOTES
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace

from sqlalchemy.exc import DBAPIError, IntegrityError

from tierwright.errors import MigrationError, PrivilegeMissing
from tierwright.migrations import preflight
from tierwright.migrations.definitions import (
    Check,
    Column,
    Constraint,
    Definition,
    ForeignKey,
    Index,
    Partitioning,
    Trigger,
)
from tierwright.migrations.dialects import postgresql_catalog as catalog
from tierwright.migrations.dialects import postgresql_partitioning as partitioning
from tierwright.migrations.dialects import postgresql_partitions as partitions
from tierwright.migrations.dialects import postgresql_script as script
from tierwright.migrations.dialects.base import Dialect, name_taken
from tierwright.migrations.dialects.postgresql_catalog import quoted
from tierwright.migrations.dialects.postgresql_locks import StatementRunner
from tierwright.migrations.dialects.postgresql_refusals import refusals
from tierwright.migrations.names import ADMIN_POLICY


class PostgresqlDialect(Dialect):
    """PostgreSQL: every object is built without blocking the application."""

    def ensure(self, definitions: Sequence[Definition]) -> None:
        if self.context.as_sql:
            script.ensure(self.operations, self.possible(definitions))
            return
        missing = self.missing(self.lasting(definitions))
        with self.context.autocommit_block():
            for definition in missing:
                self._ensure_one(definition)

    def discard(self, definitions: Sequence[Definition]) -> None:
        if self.context.as_sql:
            script.discard(self.operations, self.possible(definitions))
            return
        with self.context.autocommit_block():
            for definition in self.possible(definitions):
                self._discard_one(definition)

    def missing(self, definitions: Iterable[Definition]) -> list[Definition]:
        return [definition for definition in self.possible(definitions) if not self._exists(definition)]

    def render_survey(self, definitions: Sequence[Definition]) -> None:
        script.survey(self.operations, self.possible(definitions))

    def dependents(self, tables: Sequence[str]) -> list[str]:
        return catalog.dependents(self.connection, tables)

    def refuse_hidden_rows(self, tables: Sequence[str]) -> None:
        hidden = catalog.hidden_tables(self.connection, tables)
        if hidden:
            role = self.connection.exec_driver_sql("SELECT current_user").scalar_one()
            raise PrivilegeMissing(
                f"Row-level security hides rows of {', '.join(hidden)} from the role {role}.",
                remedy=f"Make it a member of a role of the policy {ADMIN_POLICY} (GRANT ... TO ..., with INHERIT): "
                "`tierwright db isolation status` names it.",
                details={"tables": hidden, "role": role},
            )

    def refuse_impossible(self, missing: Sequence[Definition]) -> None:
        """A host may have given a table what its partitions cannot have, or what would stay with the old rows."""
        for wanted in missing:
            if isinstance(wanted, Partitioning):
                found = list(self.connection.exec_driver_sql(refusals(wanted)).scalars())
                if found:
                    raise MigrationError(
                        f"{wanted.table} cannot be partitioned by month as it is: {'; '.join(found)}.",
                        remedy="Drop what is named, run it again, and make it anew for the partitioned table; see the "
                        "operator's guide.",
                        details={"table": wanted.table, "found": found},
                    )

    @property
    def _run(self) -> StatementRunner:
        return StatementRunner(self.connection, self.options)

    def _exists(self, definition: Definition) -> bool:
        if isinstance(definition, Index):
            return self._index_exists(definition)
        if isinstance(definition, ForeignKey | Check):
            found = catalog.constraint(self.connection, definition.table, definition.name)
            return found is not None and found == catalog.canonical(self.connection, definition)
        if isinstance(definition, Trigger):
            return self._trigger_exists(definition)
        if isinstance(definition, Partitioning):
            return partitions.is_partitioned_so(self.connection, definition)
        return not self.missing_column(definition)

    def _index_exists(self, index: Index) -> bool:
        found = catalog.relation(self.connection, index.name)
        if found is None:
            return False
        if found.kind != "index" or found.table != index.table:
            raise name_taken("index", index.name, f"a {found.kind} of that name belongs to {found.table}")
        return found.valid and found.definition == script.index_definition(index)

    def _trigger_exists(self, trigger: Trigger) -> bool:
        """Tell whether trigger and function are there as defined; a function of its name that is not its is refused."""
        found = catalog.trigger(self.connection, trigger.table, trigger.name)
        is_right = found is not None and script.folded(found) == script.folded(trigger.create["postgresql"][-1])
        if not trigger.body:
            return is_right
        function = catalog.function(self.connection, trigger.name)
        if function == trigger.body:
            return is_right
        if function is not None and not catalog.runs_own_function(self.connection, trigger.table, trigger.name):
            raise name_taken("function", f"{trigger.name}()", "a function of that name exists, and is not ours")
        return False

    def _ensure_one(self, definition: Definition) -> None:
        self.options.announce(f"creating {definition.name} on {definition.table}")
        if isinstance(definition, Column):
            self.operations.add_column(definition.table, definition.column)
        elif isinstance(definition, Index):
            self._ensure_index(definition)
        elif isinstance(definition, Trigger):
            for statement in script.create_trigger(definition):
                self._run.short(statement)
        elif isinstance(definition, Partitioning):
            self._partition(definition)
        else:
            self._create_constraint(definition)

    def _partition(self, wanted: Partitioning) -> None:
        """Make the table a partitioned one; a promise that cannot be kept is taken back."""
        try:
            for statement in (partitioning.promise, partitioning.prove, partitioning.swap, partitions.months_ahead):
                self._block(statement(wanted))
        except Exception:
            with suppress(DBAPIError):  # the connection may be what failed; the next run takes it back
                self._block(partitioning.withdraw(wanted))
            raise

    def _block(self, statement: str) -> None:
        self._run.short(statement.replace("%", "%%"))

    def _ensure_index(self, index: Index) -> None:
        """Build the index; one of its name with another definition holds until the new one is valid."""
        found = catalog.relation(self.connection, index.name)
        is_whole = not catalog.is_partitioned(self.connection, index.table)
        if found is None or not found.valid or not is_whole or found.constraint is not None:
            self._discard_index(index)
            self._create_index(index, index)
            return
        made = replace(index, name=script.REPLACEMENT)
        self._discard_index(made)  # of a run that was killed
        self._create_index(made, index)
        self._run.short(script.swap_index(index))

    def _create_index(self, made: Index, index: Index) -> None:
        """Build an index online, for what will be ``index``; a duplicate that slipped in leaves nothing behind."""
        if catalog.is_partitioned(self.connection, index.table):
            self._create_index_in_parts(index)
            return
        try:
            self._run.patient(script.create_index(made), undo=lambda: self._discard_index(made))
        except IntegrityError:
            self._discard_index(made)
            preflight.refuse(preflight.findings(self.connection, [index]))
            raise

    def _create_index_in_parts(self, index: Index) -> None:
        """CONCURRENTLY does not work on a partitioned table: so first it alone, then one partition after the other."""
        self._run.short(script.create_index_only(index))
        for partition in partitions.partitions(self.connection, index.table):
            part = replace(index, name=partitions.part_name(index.name, partition.name), table=quoted(partition.name))
            self._discard_index(part)
            self._run.patient(script.create_index(part), undo=lambda part=part: self._discard_index(part))  # type: ignore[misc]
            self._run.short(f"ALTER INDEX {index.name} ATTACH PARTITION {part.name}")

    def _create_constraint(self, constraint: Constraint) -> None:
        """Enforce the constraint for new rows, then check the old ones; a bad row leaves what was there before.

        One of its name with another definition holds until the new one is valid and takes its place.
        """
        is_new = catalog.constraint(self.connection, constraint.table, constraint.name) is None
        made = constraint if is_new else replace(constraint, name=script.REPLACEMENT)
        self._run.short(script.add_constraint(made) if is_new else script.replace_constraint(made))
        try:
            self._run.short(script.validate_constraint(made))
        except IntegrityError:
            self._discard_one(made)
            preflight.refuse(preflight.findings(self.connection, [constraint]))
            raise
        if not is_new:
            self._run.short(script.swap_constraint(constraint))

    def _discard_one(self, definition: Definition) -> None:
        if isinstance(definition, Index):
            self._discard_index(definition)
        elif isinstance(definition, ForeignKey | Check):
            self._run.short(script.drop_constraint(definition))
        elif isinstance(definition, Trigger):
            self._discard_trigger(definition)
        elif isinstance(definition, Partitioning):
            self.options.announce(f"joining the partitions of {definition.table}")
            self._block(partitioning.withdraw(definition))
            self._block(partitioning.join(definition))
        elif not self.missing_column(definition):
            self.operations.drop_column(definition.table, definition.name)

    def _discard_trigger(self, trigger: Trigger) -> None:
        """Drop the trigger, and the function if it is the trigger's or what an interrupted run of ours left of it."""
        is_ours = bool(trigger.body) and (
            catalog.runs_own_function(self.connection, trigger.table, trigger.name)
            or catalog.function(self.connection, trigger.name) == trigger.body
        )
        self._run.short(script.drop_trigger(trigger))
        if is_ours:
            self._run.short(script.drop_function(trigger))

    def _discard_index(self, index: Index) -> None:
        found = catalog.relation(self.connection, index.name)
        if found is None:
            return
        if found.partitioned:  # CONCURRENTLY does not work on it
            self._run.short(f"DROP INDEX IF EXISTS {index.name}")
        elif found.constraint is not None:  # a host made it as a constraint, which alone may drop it
            self._run.short(f"ALTER TABLE {index.table} DROP CONSTRAINT {found.constraint}")
        else:
            self._run.patient(f"DROP INDEX CONCURRENTLY IF EXISTS {index.name}")
