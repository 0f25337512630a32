"""Applying a document, or a plan that was made from one: everything in the session's transaction, or nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.orm import Session

from tierwright.catalog.differences import Change, entries
from tierwright.catalog.document import CatalogDocument
from tierwright.catalog.effect import Effect
from tierwright.catalog.exporting import export
from tierwright.catalog.outcome import LESS
from tierwright.catalog.plan import Plan
from tierwright.catalog.preparing import Prepared, prepare
from tierwright.catalog.writing import Writer
from tierwright.errors import DocumentChanged, LossRefused
from tierwright.services.audit import Journal
from tierwright.services.registry.locking import catalogue_write
from tierwright.services.session_state import connection_of
from tierwright.services.statements import FEATURES
from tierwright.types import AuditAction, AuditEntity, to_utc, utc_now

_ACTIONS = {
    "create": AuditAction.CREATED,
    "change": AuditAction.UPDATED,
    "retire": AuditAction.DISABLED,
    "restore": AuditAction.ENABLED,
    "delete": AuditAction.DELETED,
}


@dataclass(frozen=True, slots=True)
class ApplyResult:
    """What was done.

    Attributes:
        changes: what was written; without any, nothing was.
        effect: on the tenants, as it was worked out under the lock.
        warnings: what the writer should know, each a sentence.
    """

    changes: tuple[Change, ...]
    effect: Effect
    warnings: tuple[str, ...]

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.changes)


def apply(
    session: Session,
    planned: Plan | CatalogDocument,
    *,
    document: CatalogDocument | None = None,
    allow_loss: bool = False,
    prune: bool = False,
    at: datetime | None = None,
    sample: int = 20,
    actor: str | None = None,
    reason: str | None = None,
) -> ApplyResult:
    """Make a document the catalogue of a database, with one audit entry for each thing that changes.

    It locks the catalogue, reads it again, checks everything, writes, and flushes. It never commits: the host does, or
    :func:`tierwright.services.transactions.run_in_transaction`. Where nothing would change, nothing is written.

    Args:
        session: the host's session.
        planned: a plan, which is applied only to the catalogue that it was made for; or a document, whatever the
            catalogue is.
        document: with a plan: the document as it is now, which must be the one that was planned.
        allow_loss: whether tenants may lose features, or get lower limits. Who would is worked out anew, under the
            lock: a tenant may have got a licence since the plan was made.
        prune: with a document: whether to delete what left it, where nothing refers to it. A plan knows.
        at: the moment of the effect, the present one by default.
        sample: how many decisions of each kind, and tenants of each warning, are named.
        actor: who writes; else the AuditContext counts that is attached to the session.
        reason: why.

    Raises:
        AuditContextMissing: nobody says who writes.
        CatalogChanged: the catalogue is not the one that was planned for.
        DocumentChanged: the document is not the one that was planned.
        LossRefused: tenants would lose features, or have lower limits.
        InvalidInput, ReferenceUnknown, CycleRefused, AlreadyExists, PrerequisiteBroken, ConflictRefused, StillInUse,
            DependencyMissing: as :func:`tierwright.catalog.plan` says.
        RetryTransaction: another transaction came first. Roll back and begin anew.
        TransactionMissing: the session's connection is in AUTOCOMMIT mode.
        PrivilegeMissing: row-level security hides tenants from the current role.
    """
    journal = Journal.open(session, actor, reason)
    moment = utc_now() if at is None else to_utc(at)
    plan = planned if isinstance(planned, Plan) else None
    if plan is not None and document is not None and document.hash() != plan.document_hash:
        raise DocumentChanged(
            "The document was changed after the plan was made.",
            remedy="Plan again, and look at what has become of it.",
            details={"planned": plan.document_hash, "found": document.hash()},
        )
    wanted = planned.document if isinstance(planned, Plan) else planned
    with catalogue_write(journal):
        connection = connection_of(session)
        old = export(connection)
        if plan is not None:
            plan.refuse_other_base(old.hash())
            prune = plan.prune
        _lock_retyped(session, old, wanted)
        found = prepare(connection, old, wanted, prune=prune, at=moment, sample=sample)
        if found.effect.takes_away and not allow_loss:
            raise _loss(found.effect)
        if found.changes:
            Writer(session, old, found.target.document, found.changes, utc_now(), journal.context.actor).write()
            journal.record_all(_audited(found))
    return ApplyResult(found.changes, found.effect, found.warnings)


def _lock_retyped(session: Session, old: CatalogDocument, wanted: CatalogDocument) -> None:
    """Keep overrides from being written while the type or the schema of their feature changes.

    On PostgreSQL an override that is being written holds a share of this lock: wait for it, then see it.
    """
    keys = [
        key
        for key, entry in wanted.features.items()
        if key in old.features
        and (entry.feature_type, entry.value_schema) != (old.features[key].feature_type, old.features[key].value_schema)
    ]
    if keys and connection_of(session).dialect.name == "postgresql":
        statement = sa.select(FEATURES.c.feature_key).where(FEATURES.c.feature_key.in_(keys))
        connection_of(session).execute(statement.order_by(FEATURES.c.feature_key).with_for_update())


def _loss(effect: Effect) -> LossRefused:
    elsewhere = [outcome for outcome in effect.elsewhere if outcome.kind in LESS]
    samples = [each for each in effect.samples if each.outcome.kind in LESS]
    if effect.less.decisions:
        first = samples[0] if samples else None
        named = f", such as {first.tenant_id} {first.outcome.feature_key}" if first else ""
        tenants = "1 tenant" if effect.less.tenants == 1 else f"{effect.less.tenants} tenants"
        who = f"{tenants} would have less than before{named}"
    else:
        who = f"Tenants without any row here would have less than before, such as {elsewhere[0].feature_key}"
    return LossRefused(
        f"{who[0].upper()}{who[1:]}.",
        remedy="Correct the document, or allow it with allow_loss=True (--allow-loss).",
        details={
            "tenants": effect.less.tenants,
            "losses": effect.losses.decisions,
            "lowered": effect.lowered.decisions,
            "samples": [each.to_json() for each in samples],
            "elsewhere": [outcome.to_json() for outcome in elsewhere],
        },
    )


def _audited(found: Prepared) -> Iterator[Mapping[str, Any]]:
    """Yield the audit entry of each change."""
    features = {entity: _features(found, entity) for entity in {change.entity for change in found.changes}}
    for change in found.changes:
        old = change.old
        if change.entity is AuditEntity.TIER and change.kind == "delete":
            # They go with the tier, without entries of their own.
            old = {**(old or {}), "features": found.old.tiers[change.key].features}
        yield {
            "entity": change.entity,
            "entity_id": change.key,
            "action": _ACTIONS[change.kind],
            "old": old,
            "new": change.new,
            "feature_key": features[change.entity].get(change.key),
        }


def _features(found: Prepared, entity: AuditEntity) -> dict[str, str | None]:
    """Return the feature that each thing of one kind is about."""
    documents: Iterable[CatalogDocument] = (found.old, found.target.document)
    if entity in (AuditEntity.FEATURE, AuditEntity.TIER_FEATURE):
        is_pair = entity is AuditEntity.TIER_FEATURE
        return {
            change.key: change.key.partition("/")[2] if is_pair else change.key
            for change in found.changes
            if change.entity is entity
        }
    return {
        key: fields.get("feature_key") for document in documents for key, fields in entries(document, entity).items()
    }
