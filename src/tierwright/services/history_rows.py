"""Many entries of the history at once, as the driver takes them: an import leaves a hundred thousand.

PostgreSQL takes a page of them as one JSON document, which it takes apart faster than parameters come one by one, and
which passes row-level security, as COPY does not. SQLite takes some rows a statement, because the trigger that guards
the history costs more once a statement than once a row; and it is told not to be able to undo half a statement, for
which it would keep a copy of every page: who catches an error of the driver rolls back anyhow.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import cache, lru_cache
from itertools import chain, islice
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.engine import Connection, Dialect
from sqlalchemy.exc import IntegrityError
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata
from tierwright.services.announcing import ANNOUNCED
from tierwright.services.driver_text import Schemas, driver_text, schemas_of
from tierwright.services.history_kept_out import kept_out
from tierwright.types import uuid7

T = TypeVar("T")
#: What each entry has of its own, in the order of :func:`_own` and of the table; the rest is the same for all.
_OWN = ("id", "entity_type", "entity_id", "tenant_id", "feature_key", "action", "old_value", "new_value")
_DOCUMENTS = ("old_value", "new_value")
_HISTORY = SQLModel.metadata.tables["feature_audit_log"]
_SHARED = tuple(column.name for column in _HISTORY.c if column.name not in _OWN)
_PAGE = 1000
#: 64 rows have 896 parameters; a SQLite from before 3.32 takes 999.
_SQLITE_ROWS = 64


def insert_entries(
    connection: Connection,
    shared: Mapping[str, Any],
    entries: Iterable[Mapping[str, Any]],
    announced: Sequence[str] = (),
) -> int:
    """Write entries of the history.

    Args:
        connection: of the transaction that they belong to.
        shared: what all have in common, by column.
        entries: for each the arguments of :meth:`tierwright.services.audit.Journal.record` by their names.
        announced: what to announce with them, on PostgreSQL; see :mod:`tierwright.services.announcing`.

    Returns:
        How many there were.

    Raises:
        HistoryProtected: SQLite: a row of an odd number keeps others out.
    """
    if connection.dialect.name != "postgresql":
        return sum(_as_rows(connection, shared, page) for page in _pages(entries, _PAGE))
    return sum(_to_postgresql(connection, shared, page, announced) for page in _pages(entries, _PAGE))


def as_json(columns: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return values of columns as JSON has them."""
    text = _text(columns)
    return None if text is None else dict(json.loads(text))


def _plain(value: Any) -> Any:
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal):
        return format(value, "f")  # a price reads 0.000001, not 1E-6
    if isinstance(value, UUID):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not JSON")


#: Made once: json.dumps makes an encoder for each value.
_ENCODED = json.JSONEncoder(default=_plain).encode


def _own(entry: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        uuid7(),
        str(entry["entity"]),
        entry["entity_id"],
        entry.get("tenant_id"),
        entry.get("feature_key"),
        str(entry["action"]),
        entry.get("old"),
        entry.get("new"),
    )


def _to_postgresql(
    connection: Connection, shared: Mapping[str, Any], page: Sequence[Mapping[str, Any]], announced: Sequence[str]
) -> int:
    own = [dict(zip(_OWN, _own(entry), strict=True)) for entry in page]
    said = {f"all_{name}": shared.get(name) for name in _SHARED}
    words = {"words": list(announced)} if announced else {}
    if len(own) == 1:
        documents = {name: _text(own[0][name]) for name in _DOCUMENTS}
        connection.execute(_one(bool(words)), {**own[0], **documents, **said, **words})
    else:
        document = _ENCODED(own)
        connection.execute(_from_document(bool(words)), {"entries": document, **said, **words})
    return len(page)


@cache
def _one(is_announced: bool) -> sa.Insert:
    documents = {name: sa.cast(sa.bindparam(name, type_=sa.Text()), JSONB()) for name in _DOCUMENTS}
    own = [documents.get(name, sa.bindparam(name, type_=_HISTORY.c[name].type)) for name in _OWN]
    rows = sa.select(*own, *_said())
    if is_announced:
        rows = rows.select_from(ANNOUNCED).where(ANNOUNCED.c.number > 0)
    return sa.insert(_HISTORY).from_select([*_OWN, *_SHARED], rows)


@cache
def _from_document(is_announced: bool) -> sa.Insert:
    # Wide enough for each column: what does not fit is refused by the column itself.
    own = [sa.column(name, _HISTORY.c[name].type) for name in _OWN]
    document = sa.cast(sa.bindparam("entries", type_=sa.Text()), JSONB())
    entry = sa.func.jsonb_to_recordset(document).table_valued(*own, name="entry").render_derived(with_types=True)
    rows = sa.select(*(entry.c[name] for name in _OWN), *_said())
    if is_announced:
        rows = rows.select_from(sa.join(entry, ANNOUNCED, ANNOUNCED.c.number > 0))
    return sa.insert(_HISTORY).from_select([*_OWN, *_SHARED], rows)


def _said() -> Iterator[sa.BindParameter[Any]]:
    return (sa.bindparam(f"all_{name}", type_=_HISTORY.c[name].type) for name in _SHARED)


def _as_rows(connection: Connection, shared: Mapping[str, Any], page: Sequence[Mapping[str, Any]]) -> int:
    said = tuple(_bound(connection.dialect, shared))
    head, one = _insert_text(connection.dialect, schemas_of(connection))
    for rows in _pages(page, _SQLITE_ROWS):
        values = [(*_stored(_own(entry)), *said) for entry in rows]
        statement = f"{head} VALUES {', '.join([one] * len(values))}"
        try:
            connection.exec_driver_sql(statement, tuple(chain.from_iterable(values)))
        except IntegrityError as error:
            blocked = kept_out(error)
            if blocked is None:
                raise
            raise blocked from error
    return len(page)


@lru_cache(maxsize=8)
def _insert_text(dialect: Dialect, schemas: Schemas) -> tuple[str, str]:
    """Return an INSERT in two parts, of which the second, the parameters of one row, can be repeated."""
    head, _, one = str(driver_text(dialect, sa.insert(_HISTORY).prefix_with("OR FAIL"), schemas)).partition(" VALUES ")
    return head, one


def _bound(dialect: Dialect, shared: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what all entries have in common as the types of the columns store it."""
    for name, process in _processors(dialect):
        value = shared.get(name)
        yield value if process is None else process(value)


@lru_cache(maxsize=8)
def _processors(dialect: Dialect) -> list[tuple[str, Callable[[Any], Any] | None]]:
    types = [(name, _HISTORY.c[name].type.dialect_impl(dialect)) for name in _SHARED]
    return [(name, type_.bind_processor(dialect)) for name, type_ in types]


def _stored(own: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return what an entry has of its own as SQLite stores it: a UUID as its digits, JSON as text."""
    return (own[0].hex, *own[1:6], _text(own[6]), _text(own[7]))


def _text(value: Any) -> str | None:
    return None if value is None else _ENCODED(value)


def _pages(items: Iterable[T], size: int) -> Iterator[list[T]]:
    rest = iter(items)
    while page := list(islice(rest, size)):
        yield page
