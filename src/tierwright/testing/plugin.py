"""The pytest plugin: fixtures for the tests of a host. Nothing else is imported before one of them is used."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from uuid import UUID

    from tierwright.testing.overriding import override_features as Overriding


@pytest.fixture
def override_features() -> Iterator[Callable[..., Overriding]]:
    """Return ``override_features(features, tenant=None)``: what it says holds until the test ends.

    The object that it returns is a context manager too, which ends it earlier. See
    :class:`tierwright.testing.override_features`.
    """
    from tierwright.testing.overriding import override_features

    with ExitStack() as stack:

        def override(features: Mapping[str, Any], tenant: str | int | UUID | None = None) -> Overriding:
            return stack.enter_context(override_features(features, tenant=tenant))

        yield override


@pytest.fixture
def grant(override_features: Callable[..., Any]) -> Callable[..., None]:
    """Return ``grant(tenant, feature_key, value=True, unlimited=False)``: the tenant has it until the test ends.

    No database is asked or written.
    """

    def grant(tenant: str | int | UUID, feature_key: str, value: Any = True, *, unlimited: bool = False) -> None:
        document = {"enabled": True, "unlimited": True} if unlimited else {"enabled": True, "value": value}
        override_features({feature_key: document}, tenant)

    return grant


@pytest.fixture
def seed() -> Callable[..., None]:
    """Return :func:`tierwright.testing.seed`: ``seed(session, document)`` writes a catalogue and tenants as rows."""
    from tierwright.testing.seeding import seed

    return seed
