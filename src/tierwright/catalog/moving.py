"""Moving tenants from one tier to another, some in a transaction, while the application goes on.

Nothing is remembered between runs: who still holds the tier is who is left to move, so a run that was killed is simply
begun again. Each licence is looked at once more under the lock of its tenant, so nobody's newer change is overwritten.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.orm import Session, sessionmaker

from tierwright.catalog.tier_move import Move, not_ended, open_tier, plan_move
from tierwright.errors import InvalidInput, LossRefused
from tierwright.services.audit import Journal
from tierwright.services.registry.integrity import typed_writes
from tierwright.services.registry.live_tiers import NamedTier, deleted
from tierwright.services.registry.locking import lock_tenants
from tierwright.services.session_state import connection_of, own_writes
from tierwright.services.statements import LICENSES
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.services.transactions import run_in_transaction
from tierwright.types import AuditAction, AuditEntity, utc_now

#: The primary key of a licence.
Key = tuple[str, str]

_KEY = (LICENSES.c.tenant_id, LICENSES.c.license_key)
#: So many keys are read at once.
_PAGE = 5_000
#: So often the licences are gone through, where others go on giving the tier to tenants.
_MOST_PASSES = 20


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What a move has done.

    Attributes:
        move: what it was to do, as it was worked out before the first licence was moved.
        moved: licences that were moved by this run.
        remaining: licences that are for the old tier all the same, because others went on giving it.
    """

    move: Move
    moved: int
    remaining: int


def move_tenants(
    sessions: sessionmaker[Any],
    source: str,
    target: str,
    *,
    is_deleted: bool = False,
    tier_id: UUID | None = None,
    allow_loss: bool = False,
    batch_size: int = 200,
    actor: str | None = None,
    reason: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> MoveReport:
    """Move the tenants that hold one tier to another; safe to stop and to begin again.

    Every licence that has not ended is moved, with its window; ended ones stay as they were. Each leaves an audit
    entry. It commits batch by batch.

    Args:
        sessions: makes sessions, such as ``sessionmaker(engine)``, of a role that sees all tenants.
        source, target, is_deleted, tier_id: as for :func:`plan_move`.
        allow_loss: whether tenants may lose features, or get lower limits.
        batch_size: licences in a transaction.
        actor: who writes; else the AuditContext counts that is attached to each session.
        reason: why.
        progress: called with the number of licences that were moved so far.

    Raises:
        NotFound, TierDeleted, TierClosed, InvalidInput, PrivilegeMissing: as for :func:`plan_move`.
        LossRefused: tenants would lose features, or have lower limits; nothing was moved.
        AuditContextMissing: nobody says who writes.
        RetryTransaction: others were in the way for too long; run it again.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise InvalidInput("batch_size is not a positive whole number.", remedy="Leave it out.")
    with sessions() as session:
        Journal.open(session, actor, reason)  # refuses before anything is read
        move = plan_move(session, source, target, is_deleted=is_deleted, tier_id=tier_id)
    if move.effect.takes_away and not allow_loss:
        raise _loss(move)
    moved = 0
    for _ in range(_MOST_PASSES):
        before = moved
        for page in _pages(sessions, move):
            for start in range(0, len(page), batch_size):
                some = page[start : start + batch_size]
                batch = partial(_batch, move=move, keys=some, actor=actor, reason=reason)
                moved += run_in_transaction(sessions, batch)
                if progress is not None:
                    progress(moved)
        if moved == before:
            break
    with sessions() as session:
        due = sa.select(sa.func.count()).select_from(LICENSES).where(*not_ended(move.source, utc_now()))
        return MoveReport(move, moved, connection_of(session, writing=False).execute(due).scalar_one())


def _pages(sessions: sessionmaker[Any], move: Move) -> Iterator[list[Key]]:
    """Yield the keys of the licences that are due; no transaction stays open while they are worked on."""
    statement = sa.select(*_KEY).where(*not_ended(move.source, utc_now())).order_by(*_KEY).limit(_PAGE)
    after = statement
    while True:
        with sessions() as session:
            connection = connection_of(session, writing=False)
            require_all_tenants(connection)
            page = [(tenant_id, key) for tenant_id, key in connection.execute(after)]
        if not page:
            return
        yield page
        after = statement.where(sa.tuple_(*_KEY) > sa.tuple_(*page[-1]))


def _batch(session: Session, move: Move, keys: Sequence[Key], actor: str | None, reason: str | None) -> int:
    """Move some licences, as far as they are still due; return how many."""
    journal = Journal.open(session, actor, reason)
    with typed_writes():
        connection = connection_of(session)
        lock_tenants(connection, sorted({tenant_id for tenant_id, _ in keys}))
        require_all_tenants(connection)
        _refuse_another(open_tier(connection, move.target.key), move.target)
        due = sa.select(*_KEY).where(*not_ended(move.source, utc_now()), sa.tuple_(*_KEY).in_(list(keys)))
        found = [tuple(row) for row in connection.execute(due.with_for_update())]
        if not found:
            return 0
        with own_writes(session):
            update = sa.update(LICENSES).where(sa.tuple_(*_KEY).in_(found)).values(license_tier_id=move.target.id)
            session.execute(update, execution_options={"synchronize_session": False})
            journal.record_all(_entry(move, *key) for key in found)
    return len(found)


def _refuse_another(found: NamedTier, target: NamedTier) -> None:
    """Refuse to go on where the tier that was meant is deleted by now, and another one has its key."""
    if found.id != target.id:
        raise deleted(target.key)


def _entry(move: Move, tenant_id: str, license_key: str) -> dict[str, Any]:
    return {
        "entity": AuditEntity.TENANT_LICENSE,
        "entity_id": f"{tenant_id}/{license_key}",
        "action": AuditAction.UPDATED,
        "old": {"tier_key": move.source.key},
        "new": {"tier_key": move.target.key},
        "tenant_id": tenant_id,
    }


def _loss(move: Move) -> LossRefused:
    effect = move.effect
    return LossRefused(
        f"{effect.less.tenants} tenants would lose features, or have lower limits.",
        remedy="Look at the preview, and allow the loss if it is meant.",
        details={"decisions": effect.less.decisions, "tenants": effect.less.tenants},
    )
