"""A plan: what a document would change in a database, and what that does to the tenants."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.catalog.comparison import Comparison
from tierwright.catalog.differences import Change
from tierwright.catalog.document import CatalogDocument
from tierwright.catalog.effect import Effect, outcomes_of
from tierwright.catalog.exporting import export
from tierwright.catalog.outcome import TenantOutcome
from tierwright.catalog.plan_json import read_plan, write_plan
from tierwright.catalog.preparing import prepare
from tierwright.errors import CatalogChanged
from tierwright.services.reading import NO_VERSION, Version
from tierwright.services.session_state import connection_of
from tierwright.services.statements import CATALOG_KEY, STATE
from tierwright.types import to_utc, utc_now


class Base(NamedTuple):
    """The catalogue that a plan was made for.

    Attributes:
        hash: of its content: the same for the same content, whatever was written between.
        version: the number and token of the newest write, for people.
    """

    hash: str
    version: Version


@dataclass(frozen=True, slots=True)
class Plan:
    """What a document would change.

    Attributes:
        changes: by kind of thing and key, with the old and new values of the fields that change.
        effect: who gains, who loses, whose value changes, at the moment ``effect.at``.
        warnings: what the writer should know, each a sentence.
        base: the catalogue that it was made for.
        document: what it was made from.
        document_hash: the hash of the document.
        prune: whether what left the document is deleted, where nothing refers to it.
    """

    changes: tuple[Change, ...]
    effect: Effect
    warnings: tuple[str, ...]
    base: Base
    document: CatalogDocument = field(repr=False)
    document_hash: str
    prune: bool = False
    _comparison: Comparison | None = field(default=None, repr=False, compare=False)

    @property
    def is_empty(self) -> bool:
        """Whether nothing would change."""
        return not self.changes

    def iterate(self, session: Session | Connection) -> Iterator[TenantOutcome]:
        """Yield every decision that would change, by tenant and feature, reading the tenants as it goes.

        Args:
            session: the database.

        Raises:
            CatalogChanged: the plan was read from text, and the catalogue is another one by now.
        """
        connection = connection_for(session)
        comparison = self._comparison
        if comparison is None and self.changes:
            old = export(connection)
            self.refuse_other_base(old.hash())
            at = self.effect.at
            comparison = prepare(connection, old, self.document, prune=self.prune, at=at, sample=0).comparison
        return outcomes_of(connection, comparison, self.effect.at) if comparison is not None else iter(())

    def refuse_other_base(self, found: str) -> None:
        """Refuse a catalogue that is not the one this plan was made for.

        Args:
            found: the hash of the catalogue.

        Raises:
            CatalogChanged: it is another one.
        """
        if found != self.base.hash:
            raise CatalogChanged(
                "The catalogue was changed after the plan was made.",
                remedy="Plan again, and look at what has become of it.",
                details={"planned": self.base.hash, "found": found},
            )

    def to_json(self) -> str:
        """Return the plan as text, for :meth:`from_json`: with the document, and without the stream of all outcomes."""
        return write_plan(self)

    @classmethod
    def from_json(cls, text: str) -> Plan:
        """Return a plan that was kept as text.

        Raises:
            InvalidInput: this is no plan, it is one of another version of this format, or it was changed.
        """
        return read_plan(text)


def plan(
    session: Session | Connection,
    document: CatalogDocument,
    *,
    prune: bool = False,
    at: datetime | None = None,
    sample: int = 20,
) -> Plan:
    """Return what a document would change in a database, and for whom; nothing is written.

    Args:
        session: a session or connection. It reads what its transaction sees; nothing is locked.
        document: the whole catalogue as it shall be.
        prune: whether to delete what left the document, where nothing refers to it; else it is retired.
        at: the moment for which the effect is worked out, the present one by default. Licences and overrides that
            begin later have no part in it.
        sample: how many decisions of each kind, and tenants of each warning, are named.

    Raises:
        InvalidInput: a value does not fit its feature's type or schema.
        ReferenceUnknown: something refers to what is not in the document.
        CycleRefused: prerequisites or base tiers run in a circle.
        AlreadyExists: two tiers are the default.
        PrerequisiteBroken, ConflictRefused: a tier would newly grant what it cannot keep.
        StillInUse: tenants hold values that a feature's new type or schema does not allow.
        DependencyMissing: there is a schema to check, and the package jsonschema is not installed.
        PrivilegeMissing: row-level security hides tenants from the current role.
    """
    connection = connection_for(session)
    moment = utc_now() if at is None else to_utc(at)
    version = version_now(connection)
    old = export(connection)
    found = prepare(connection, old, document, prune=prune, at=moment, sample=sample)
    base = Base(old.hash(), version)
    return Plan(found.changes, found.effect, found.warnings, base, document, document.hash(), prune, found.comparison)


def connection_for(session: Session | Connection) -> Connection:
    """Return the connection to our tables."""
    return session if isinstance(session, Connection) else connection_of(session)


def version_now(connection: Connection) -> Version:
    """Return the number and the token of the newest catalogue write."""
    statement = sa.select(STATE.c.version, STATE.c.value).where(STATE.c.key == CATALOG_KEY)
    row = connection.execute(statement).first()
    if row is None:
        return NO_VERSION
    return row.version, row.value.get("token") if isinstance(row.value, dict) else None
