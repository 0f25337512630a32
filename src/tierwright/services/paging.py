"""Reading long results in pages, each beginning behind the last row of the one before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

_PAGE = 5_000


def pages(connection: Connection, statement: Any, order: tuple[sa.ColumnElement[Any], ...]) -> Iterator[Any]:
    """Yield the rows of a statement, so that a million need no more memory than a few thousand.

    Args:
        connection: where to read.
        statement: a select.
        order: columns that are not NULL, together unique, and all selected; the rows come in their order.
    """
    positions = [
        next(position for position, selected in enumerate(statement.selected_columns) if selected is column)
        for column in order
    ]
    ordered = statement.order_by(*order).limit(_PAGE)
    page = connection.execute(ordered).all()
    while True:
        yield from page
        if len(page) < _PAGE:
            return
        last = [sa.literal(page[-1][position], column.type) for position, column in zip(positions, order, strict=True)]
        page = connection.execute(ordered.where(sa.tuple_(*order) > sa.tuple_(*last))).all()
