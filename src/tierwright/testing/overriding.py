"""Decisions that a test dictates, whatever the database says."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import datetime
from types import MappingProxyType, TracebackType
from typing import Any, Self
from unittest import mock
from uuid import UUID

from tierwright.resolution.decision import Decision, Reason, Source
from tierwright.resolution.facts import MISSING, Grant
from tierwright.services.aio import AsyncEntitlements
from tierwright.services.entitlements import REQUIRED, Entitlements
from tierwright.testing.documents import value_document
from tierwright.testing.memory_store import MemoryStore
from tierwright.types import canonical_tenant_id

_lock = threading.Lock()
_active: list[override_features] = []
_patches: list[Any] = []


class override_features:
    """Dictates decisions, in every thread of the process: a context manager.

        with override_features({"agents.canvas": True, "limits.seats": 5}, tenant="acme"):
            ...

    It reaches every :class:`~tierwright.Entitlements` and :class:`~tierwright.AsyncEntitlements`, whether made before
    or within the block, with a store or without. What it dictates is never asked of a database; everything else is as
    without it. Prerequisites and conflicts are not applied to it. Of several blocks the innermost wins.

    Args:
        features: by feature key: True, False, a value (which grants it), a value document, a :class:`Reason` (denied
            for it; UNAVAILABLE for a database that is down), or a whole :class:`Decision`.
        tenant: for whom; everybody by default.

    Raises:
        InvalidInput: that is no tenant.
    """

    def __init__(self, features: Mapping[str, Any], tenant: str | int | UUID | None = None) -> None:
        self.tenant_id = None if tenant is None else canonical_tenant_id(tenant)
        self.decisions = MappingProxyType({key: decision_of(key, given) for key, given in features.items()})

    def __enter__(self) -> Self:
        with _lock:
            if not _active:
                _start()
            if self not in _active:  # the fixture has begun it already
                _active.append(self)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        traceback: TracebackType | None = None,
    ) -> None:
        with _lock:
            if self in _active:
                _active.remove(self)
                if not _active:
                    _stop()


def decision_of(feature_key: str, given: Any) -> Decision:
    """Return the decision that a test's shorthand stands for."""
    if isinstance(given, Decision):
        return given
    if isinstance(given, Reason):
        return Decision(feature_key, given is Reason.GRANTED, None, False, given, Source.NONE)
    grant = Grant.from_document({"enabled": True, "value": True} if given is True else value_document(given))
    if not grant.enabled:
        return Decision(feature_key, False, None, False, Reason.NOT_GRANTED, Source.OVERRIDE)
    value = None if grant.value is MISSING else grant.value
    return Decision(feature_key, True, value, grant.unlimited, Reason.GRANTED, Source.OVERRIDE)


def dictated(tenant: str | int | UUID) -> dict[str, Decision]:
    """Return the decisions that tests dictate for a tenant at this moment, by feature key."""
    tenant_id = canonical_tenant_id(tenant)
    found: dict[str, Decision] = {}
    for each in _active[:]:  # another thread may end a block meanwhile
        if each.tenant_id is None or each.tenant_id == tenant_id:
            found.update(each.decisions)
    return found


# --- while anything is dictated, these stand in for the methods of the same names ------------------------------------

_check, _evaluate = Entitlements.check, Entitlements.evaluate
_evaluate_all, _decided = Entitlements.evaluate_all, Entitlements._decided
_async_evaluate, _async_value = AsyncEntitlements.evaluate, AsyncEntitlements.value


def _dictated_check(
    self: Entitlements, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None
) -> bool:
    return self.evaluate(tenant, feature_key, at=at).enabled


def _dictated_evaluate(
    self: Entitlements, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None
) -> Decision:
    if feature_key in dictated(tenant):
        return self._evaluate(tenant, feature_key, at)  # past the quick way, which reads a store's entries
    return _evaluate(self, tenant, feature_key, at=at)


def _dictated_decided(self: Entitlements, tenant_id: str, feature_key: str, at: datetime | None) -> Decision:
    found = dictated(tenant_id).get(feature_key)
    return _decided(self, tenant_id, feature_key, at) if found is None else found


def _dictated_evaluate_all(
    self: Entitlements, tenant: str | int | UUID, *, at: datetime | None = None
) -> Mapping[str, Decision]:
    return MappingProxyType({**_evaluate_all(self, tenant, at=at), **dictated(tenant)})


async def _dictated_async_evaluate(
    self: AsyncEntitlements, tenant: str | int | UUID, feature_key: str, *, at: datetime | None = None
) -> Decision:
    if feature_key in dictated(tenant):
        return _offline(self).evaluate(tenant, feature_key, at=at)
    return await _async_evaluate(self, tenant, feature_key, at=at)


async def _dictated_async_value(
    self: AsyncEntitlements,
    tenant: str | int | UUID,
    feature_key: str,
    *,
    default: Any = REQUIRED,
    at: datetime | None = None,
) -> Any:
    if feature_key in dictated(tenant):
        return _offline(self).value(tenant, feature_key, default=default, at=at)
    return await _async_value(self, tenant, feature_key, default=default, at=at)


def _offline(asked: AsyncEntitlements) -> Entitlements:
    """Return an object that reports decisions as ``asked`` does, and asks no database for what is dictated."""
    return Entitlements(store=MemoryStore({}), on_decision=asked._on_decision)


def _start() -> None:
    for owner, name, stand_in in (
        (Entitlements, "check", _dictated_check),
        (Entitlements, "evaluate", _dictated_evaluate),
        (Entitlements, "evaluate_all", _dictated_evaluate_all),
        (Entitlements, "_decided", _dictated_decided),
        (AsyncEntitlements, "evaluate", _dictated_async_evaluate),
        (AsyncEntitlements, "value", _dictated_async_value),
    ):
        patch = mock.patch.object(owner, name, stand_in)
        patch.start()
        _patches.append(patch)


def _stop() -> None:
    while _patches:
        _patches.pop().stop()
