"""Decimals that no database rounds: NUMERIC on PostgreSQL, canonical text on SQLite."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql import functions, operators
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.types import TypeDecorator, TypeEngine

from tierwright.errors import ConfigurationError
from tierwright.refused import RefusedValue

_DECIMAL = re.compile(r"-?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?", re.ASCII)
_DECIMAL_DIGITS = 1000


def exact_decimal(value: Decimal | int | str) -> Decimal:
    """Return ``value`` as a decimal of exactly its worth and without trailing zeros.

    Args:
        value: a Decimal, an int, or decimal text such as ``"0.00015"`` or ``"1.5e-7"``.

    Returns:
        The canonical decimal: equal numbers give equal text.

    Raises:
        InvalidInput: a float or bool, NaN, infinity, other text, or more than 1,000 digits.
    """
    if isinstance(value, bool) or not isinstance(value, Decimal | int | str):
        raise RefusedValue(
            f"A {type(value).__name__} is not an exact decimal.", remedy="Pass a Decimal, an int or text."
        )
    if isinstance(value, str) and not _DECIMAL.fullmatch(value):
        raise RefusedValue("The text is not a decimal number.", remedy="Write digits, such as 0.00015.")
    number = Decimal(value)
    if not number.is_finite():
        raise RefusedValue("NaN and infinity are not prices.", remedy="Pass a finite decimal.")
    # Checked before it is written out: Decimal("1e999999") is a megabyte of zeros.
    if len(number.as_tuple().digits) > _DECIMAL_DIGITS or abs(number.adjusted()) > _DECIMAL_DIGITS:
        raise RefusedValue("The decimal has more than 1,000 digits.", remedy="Pass a smaller number.")
    return Decimal(_canonical(number))


def _canonical(number: Decimal) -> str:
    """Write ``number`` without exponent and trailing zeros (``normalize()`` would round to the context)."""
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


class _ExactOnly(functions.FunctionElement[Any]):
    """An exact decimal about to be ordered or calculated with: itself on PostgreSQL, refused on SQLite."""

    name = "exact_only"
    inherit_cache = True

    def __init__(self, expression: sa.ColumnElement[Any]) -> None:
        super().__init__(expression.self_group(against=operators.getitem))
        self.type = expression.type


@compiles(_ExactOnly)
def _render_exact_only(element: _ExactOnly, compiler: SQLCompiler, **kw: Any) -> str:
    if compiler.dialect.name == "sqlite":
        raise _not_on_sqlite()
    return compiler.process(element.clauses, **kw)


def _render_aggregate(element: functions.Function[Any], compiler: SQLCompiler, **kw: Any) -> str:
    if isinstance(element.type, ExactDecimal):
        raise _not_on_sqlite()
    return compiler.visit_function(element, **kw)


# A type does not see a function around its column, so these three are watched themselves, on SQLite only.
for _aggregate in (functions.min, functions.max, functions.sum):
    compiles(_aggregate, "sqlite")(_render_aggregate)


def _not_on_sqlite() -> ConfigurationError:
    return ConfigurationError(
        "SQLite keeps exact decimals as text, so it cannot order them or calculate with them.",
        remedy="Read the rows and compare in Python, or use PostgreSQL; equality works on both.",
    )


_EQUALITY = {
    operators.eq,
    operators.ne,
    operators.is_,
    operators.is_not,
    operators.in_op,
    operators.not_in_op,
    operators.is_distinct_from,
    operators.is_not_distinct_from,
}


class _ExactComparator(TypeDecorator.Comparator[Decimal]):
    """Lets equality through and marks every other operator."""

    def operate(self, op: operators.OperatorType, *other: Any, **kwargs: Any) -> sa.ColumnElement[Any]:
        if op in _EQUALITY or isinstance(self.expr, _ExactOnly):
            return super().operate(op, *other, **kwargs)
        return _ExactOnly(self.expr).operate(op, *other, **kwargs)

    def reverse_operate(self, op: operators.OperatorType, other: Any, **kwargs: Any) -> sa.ColumnElement[Any]:
        if isinstance(self.expr, _ExactOnly):
            return super().reverse_operate(op, other, **kwargs)
        return _ExactOnly(self.expr).reverse_operate(op, other, **kwargs)


class ExactDecimal(TypeDecorator[Decimal]):
    """A decimal of any scale that comes back as it went in: NUMERIC on PostgreSQL, canonical text on SQLite.

    On SQLite ``==`` and ``in_()`` work; ordering, arithmetic, ``min``, ``max`` and ``sum`` raise
    ConfigurationError when the statement is compiled. A bare ``order_by(column)`` is out of a type's sight:
    write ``column.asc()``.
    """

    impl = sa.Numeric
    cache_ok = True
    comparator_factory = _ExactComparator  # a property in the base class, a plain class here

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        """Return TEXT for SQLite, whose NUMERIC is a float, and unconstrained NUMERIC elsewhere."""
        return dialect.type_descriptor(sa.Text() if dialect.name == "sqlite" else sa.Numeric())

    def process_bind_param(self, value: Decimal | int | str | None, dialect: Dialect) -> Any:
        """Return the canonical decimal, as text for SQLite."""
        if value is None:
            return None
        number = exact_decimal(value)
        return format(number, "f") if dialect.name == "sqlite" else number

    process_literal_param = process_bind_param

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        """Return the decimal; a float, which only a calculation in SQLite can yield, is refused."""
        return None if value is None else exact_decimal(value)
