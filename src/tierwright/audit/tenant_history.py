"""The auditor's question: what could this tenant use at that moment, and which rows prove it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from heapq import merge
from pathlib import Path
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.audit.archive_files import read_archive, verify_archive
from tierwright.audit.archives import Archive, archives_needed
from tierwright.audit.entries import HISTORY, AuditEntry
from tierwright.audit.reading import UnreadableRow, read_rows, readable
from tierwright.audit.replay import Replay, deleted_name
from tierwright.audit.replayed_facts import CATALOGUE, Facts
from tierwright.errors import InvalidInput
from tierwright.resolution.decision import Decision
from tierwright.services.given import require_session
from tierwright.services.reading import read_catalog, read_tenant
from tierwright.services.session_state import connection_of
from tierwright.services.statements import TIERS
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.types import canonical_tenant_id, to_utc, utc_now

_LOG = HISTORY.c
#: Who did it, and from where, may be erased; what proves a decision must not change with that.
_PERSONAL = frozenset({"performed_by", "ip_address", "user_agent"})
_FETCHED = 1000
_ROWID: sa.ColumnElement[int] = sa.literal_column("_rowid_", sa.Integer())
_ENDED = sa.select(TIERS.c.id, TIERS.c.deleted_at).where(TIERS.c.deleted_at.is_not(None))


@dataclass(frozen=True, slots=True)
class TenantHistory:
    """What a tenant could use at a moment.

    Attributes:
        tenant_id: the tenant, in its canonical form.
        at: the moment.
        decisions: by feature key, every one as it was.
        rows: how many entries of the history it follows from.
        sha256: of these entries, each a line of JSON in UTF-8, with sorted keys, nothing between them, and no persons.
        gaps: what the history does not explain; empty where the decisions are proven.
    """

    tenant_id: str
    at: datetime
    decisions: Mapping[str, Decision]
    rows: int
    sha256: str
    gaps: tuple[str, ...]

    @property
    def is_proven(self) -> bool:
        """Whether the history explains all that is there."""
        return not self.gaps


def tenant_history(
    session: Session,
    tenant: str | int | UUID,
    at: datetime,
    *,
    archives: Collection[Path] = (),
    evidence: Callable[[str], object] | None = None,
) -> TenantHistory:
    """Work out from the history alone what a tenant could use at a moment, and compare its end with what is there now.

    Args:
        session: of a role that sees the history of all tenants.
        tenant: the host's identifier of the tenant.
        at: a moment in the past, with a time zone.
        archives: files of what ``maintain`` took out of the database; each is verified. Those that are needed and
            missing are named in the gaps, and those that did not leave this history.
        evidence: called with each line of the rows that prove it, in their order.

    Raises:
        SessionMissing: that is no session.
        InvalidInput: that is no tenant, or no moment of the past.
        ArchiveDamaged: an archive is not what was archived.
        PrivilegeMissing: row-level security hides entries from the current role.
    """
    require_session(session, for_async="await session.run_sync(tenant_history, tenant, at)")
    tenant_id, moment, now = canonical_tenant_id(tenant), to_utc(at), utc_now()
    if moment > now:
        raise InvalidInput("That moment is still to come.", remedy="Entitlements.evaluate(at=) looks ahead.")
    connection = connection_of(session, writing=False)
    require_all_tenants(connection)
    proof = _Proof(evidence)
    replay = Replay()
    given = {path: verify_archive(path).sha256 for path in archives}
    unread = _Unread()
    archived = [read_archive(path, unreadable=unread) for path in given]
    trail = _Trail(_entries(connection, tenant_id, unread, archived))
    later = _until(replay, trail, moment, proof)
    decisions = replay.decide(moment)
    replay.doubt()
    replay.play(later)
    needed = archives_needed(connection)
    missing = [_missing(each) for each in needed if each.sha256 not in given.values()]
    ours = {each.sha256 for each in needed}
    missing += [f"the archive {path.name} is not of this history" for path, hash_ in given.items() if hash_ not in ours]
    unexplained = _caught_up(connection, tenant_id, replay, trail, unread)
    gaps = (*missing, *unread.gaps, *dict.fromkeys((*replay.gaps, *replay.contradictions)), *unexplained)
    return TenantHistory(tenant_id, moment, decisions, proof.rows, proof.digest.hexdigest(), gaps)


def canonical(entry: AuditEntry) -> str:
    """Return an entry as the line that is hashed: keys sorted, nothing between, no persons."""
    fields = {name: getattr(entry, name) for name in entry.__slots__ if name not in _PERSONAL}
    fields |= {"id": str(entry.id), "performed_at": entry.performed_at.isoformat(timespec="microseconds")}
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str)
    return text.encode(errors="backslashreplace").decode()  # half a surrogate pair, which SQLite holds, has no UTF-8


class _Proof:
    def __init__(self, evidence: Callable[[str], object] | None) -> None:
        self.digest = hashlib.sha256()
        self.rows = 0
        self._evidence = evidence

    def add(self, entry: AuditEntry) -> None:
        line = canonical(entry) + "\n"
        self.digest.update(line.encode())
        self.rows += 1
        if self._evidence is not None:
            self._evidence(line)


class _Trail:
    """Entries, and where they have ended."""

    def __init__(self, entries: Iterator[AuditEntry]) -> None:
        self._entries = entries
        self.last: AuditEntry | None = None

    def __iter__(self) -> Iterator[AuditEntry]:
        for entry in self._entries:
            self.last = entry
            yield entry


def _until(replay: Replay, entries: Iterable[AuditEntry], moment: datetime, proof: _Proof) -> Iterator[AuditEntry]:
    """Play the entries up to a moment; return those that follow."""
    rest = iter(entries)
    for entry in rest:
        if entry.performed_at > moment:
            return _with_first(entry, rest)
        proof.add(entry)
        replay.play([entry])
    return rest


def _with_first(first: AuditEntry, rest: Iterator[AuditEntry]) -> Iterator[AuditEntry]:
    yield first
    yield from rest


def _missing(archive: Archive) -> str:
    if archive.file is None:
        return f"the entries of {archive.month} were dropped without an archive"
    return f"the archive {archive.file} is needed"


class _Unread:
    """The rows that cannot be read, and might have said something else; each is told once."""

    def __init__(self) -> None:
        self.gaps: dict[str, None] = {}

    def __call__(self, row: UnreadableRow) -> None:
        self.gaps[str(row)] = None


def _entries(
    connection: Connection,
    tenant_id: str,
    unread: _Unread,
    archives: Collection[Iterator[AuditEntry]] = (),
    since: AuditEntry | None = None,
) -> Iterator[AuditEntry]:
    statement = sa.select(HISTORY).where(_wanted(connection, tenant_id)).order_by(_LOG.performed_at, _LOG.id)
    if since is not None:
        statement = statement.where(_LOG.performed_at >= since.performed_at)
    stored = readable(read_rows(connection, statement.execution_options(yield_per=_FETCHED)), unread)
    last = None if since is None else _place(since)
    for entry in merge(*archives, stored, key=_place):
        is_wanted = entry.entity_type in CATALOGUE or entry.tenant_id == tenant_id
        if is_wanted and (last is None or _place(entry) > last):  # it may be archived, and not yet deleted
            yield entry
        last = _place(entry) if last is None else max(last, _place(entry))


def _wanted(connection: Connection, tenant_id: str) -> sa.ColumnElement[bool]:
    """Return the condition of the entries from which a tenant's decisions follow.

    SQLite would read the whole history in its order, once ANALYZE has told it that a kind of thing has very many
    entries on the average: so each index is asked for its own rows, and these are sorted.
    """
    of_catalogue, of_tenant = _LOG.entity_type.in_(CATALOGUE), _LOG.tenant_id == tenant_id
    if connection.dialect.name != "sqlite":
        return of_catalogue | of_tenant
    found = [sa.select(_ROWID).select_from(HISTORY).where(each).correlate(None) for each in (of_catalogue, of_tenant)]
    return _ROWID.in_(sa.union_all(*found))


def _place(entry: AuditEntry) -> tuple[datetime, UUID]:
    return entry.performed_at, entry.id


def _caught_up(connection: Connection, tenant_id: str, replay: Replay, trail: _Trail, unread: _Unread) -> list[str]:
    """Return what :func:`_unexplained` does, where somebody may write meanwhile: rows are read after their entries."""
    while True:
        found = _unexplained(connection, tenant_id, replay)
        more = list(_entries(connection, tenant_id, unread, since=trail.last)) if found else []
        if not more:
            return found
        replay.play(more)
        trail.last = more[-1]


def _unexplained(connection: Connection, tenant_id: str, replay: Replay) -> list[str]:
    """Return in which things the end of the history differs from the rows that are there now."""
    told, there = _comparable(replay.facts()), _comparable(_facts_there(connection, tenant_id))
    differ = sorted(thing for thing in told.keys() | there.keys() if told.get(thing) != there.get(thing))
    return [f"{thing}: the row is not what the history has left" for thing in differ]


def _facts_there(connection: Connection, tenant_id: str) -> Facts:
    catalog, facts = read_catalog(connection).snapshot, read_tenant(connection, tenant_id)
    ended = {row.id.hex: row.deleted_at.isoformat() for row in connection.execute(_ENDED)}
    names: dict[Any, str] = {}
    for tier in catalog.tiers.values():
        end = ended.get(str(tier.id).replace("-", ""))  # the catalogue has ids as the driver gives them
        names[tier.id] = tier.key if end is None else deleted_name(tier.key, end)
    tiers = [replace(tier, id=names[tier.id], base_id=names.get(tier.base_id)) for tier in catalog.tiers.values()]
    licenses = [license._replace(tier_id=names.get(license.tier_id)) for license in facts.licenses]
    return Facts(list(catalog.features.values()), tiers, licenses, list(facts.overrides))


def _comparable(facts: Facts) -> dict[str, Any]:
    return {
        **{f"feature {feature.key}": feature for feature in facts.features},
        **{f"tier {tier.id}": replace(tier, grants=dict(tier.grants)) for tier in facts.tiers},
        "licences": Counter(facts.licenses),
        **{f"override of {override.feature_key}": override for override in facts.overrides},
    }
