"""Whose health is asked for: all tenants or some, a page at a time, with row-level security and without."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.integrations.health_rows import Checked, RowKey, rows_after, rows_of
from tierwright.services.tenant_scope import CONTEXT, Context, require_all_tenants, tenant_scope

#: So many rows are read at a time, or the rows of so many tenants.
PAGE = 200

#: Lets a transaction work for one tenant.
Scope = Callable[[str], AbstractContextManager[None]]

_CONTEXT = sa.select(*CONTEXT)


class AllTenants:
    """The configurations of all tenants, by primary key.

    Args:
        integrations: of these only.
    """

    def __init__(self, integrations: Collection[str]) -> None:
        self._integrations = integrations
        self._last: RowKey | None = None
        self.is_over = False

    def read(self, connection: Connection) -> list[Checked]:
        """Return the present page, however often it is asked for.

        Raises:
            PrivilegeMissing: row-level security hides rows from the current role.
        """
        require_all_tenants(connection)
        return rows_after(connection, self._integrations, self._last, PAGE)

    def turn(self, page: Sequence[Checked]) -> None:
        """Go on to the next page."""
        self.is_over = len(page) < PAGE
        self._last = page[-1].key if page else self._last

    def scope(self, _connection: Connection) -> Scope:
        """Return what lets a transaction work for a tenant; who sees all rows need not say for whom."""
        return lambda _tenant_id: nullcontext()


class SomeTenants:
    """The configurations of some tenants.

    Args:
        integrations: of these only.
        tenant_ids: canonical, each once.
    """

    def __init__(self, integrations: Collection[str], tenant_ids: Sequence[str]) -> None:
        self._integrations = integrations
        self._left = tenant_ids

    @property
    def is_over(self) -> bool:
        """Whether there is no page any more."""
        return not self._left

    def read(self, connection: Connection) -> list[Checked]:
        """Return the present page, however often it is asked for."""
        tenant_ids = self._left[:PAGE]
        context = _context(connection)
        if context is None or not context.is_active:
            return rows_of(connection, self._integrations, tenant_ids)
        found = []
        for tenant_id in tenant_ids:
            with tenant_scope(connection, tenant_id, context):
                found += rows_of(connection, self._integrations, [tenant_id])
        return sorted(found, key=lambda row: row.key)

    def turn(self, _page: Sequence[Checked]) -> None:
        """Go on to the next page."""
        self._left = self._left[PAGE:]

    def scope(self, connection: Connection) -> Scope:
        """Return what lets a transaction work for a tenant; whether that is needed is asked once."""
        return partial(tenant_scope, connection, context=_context(connection))


def _context(connection: Connection) -> Context | None:
    return Context(*connection.execute(_CONTEXT).one()) if connection.dialect.name == "postgresql" else None
