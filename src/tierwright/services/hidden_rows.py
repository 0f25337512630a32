"""Asking again where row-level security has hidden a tenant's rows from a question about it.

Hidden rows are no error to PostgreSQL: the tenant would seem to hold nothing. So the statements tell by themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sqlalchemy.engine import Connection

from tierwright.errors import EntitlementsUnavailable, TransactionMissing
from tierwright.services.tenant_scope import Context, tenant_scope

T = TypeVar("T")


class HiddenRows(Exception):
    """Row-level security is on, and the transaction works for another tenant than the one that was asked about.

    Args:
        tenant_id: the one that it works for; None or "" is none.
    """

    def __init__(self, tenant_id: str | None) -> None:
        super().__init__("The transaction works for another tenant.")
        self.tenant_id = tenant_id


def seen(connection: Connection, tenant_id: str, question: Callable[[], T]) -> T:
    """Return the answer to a question about one tenant; where its rows were hidden, it is asked again for the tenant.

    A host that asks with :func:`tierwright.services.tenant_scope.tenant_context` around it is not asked twice.

    Args:
        connection: what the question reads.
        tenant_id: in its canonical form.
        question: reads, and raises HiddenRows where it was not shown all.

    Raises:
        EntitlementsUnavailable: the transaction cannot be made to work for the tenant.
    """
    try:
        return question()
    except HiddenRows as hidden:
        context = Context(True, hidden.tenant_id)
    try:
        with tenant_scope(connection, tenant_id, context):
            return question()
    except (HiddenRows, TransactionMissing) as error:
        raise EntitlementsUnavailable(
            "Row-level security hides what the tenant holds, and the connection cannot be told whom it works for.",
            remedy="Give the session an engine with transactions: no AUTOCOMMIT, no proxy that pools statements, no "
            "temporary tables of our names.",
        ) from error
