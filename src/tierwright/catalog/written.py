"""Values as they are written in a file, where that says more than what a reader makes of them."""

from __future__ import annotations

from datetime import date
from decimal import Decimal
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Field

from tierwright.refused import RefusedValue
from tierwright.tables.inputs import Price


class WrittenFloat(float):
    """A float that remembers how it was written: a price is taken from the text, which a float may not hold."""

    __slots__ = ("text",)

    def __new__(cls, text: str) -> Self:
        """Return the float nearest to a decimal text."""
        made = super().__new__(cls, text)
        made.text = text
        return made

    text: str


def _written(value: Any) -> Any:
    if not isinstance(value, WrittenFloat):
        return value
    try:
        return Decimal(value.text)
    except ArithmeticError:  # an exponent of twenty digits
        raise RefusedValue("The decimal has more than 1,000 digits.", remedy="Write a smaller number.") from None


def _only_a_date(value: Any) -> Any:
    # Otherwise a number would be taken for seconds since 1970.
    if type(value) is not date and not isinstance(value, str):
        raise RefusedValue("it is not a date", remedy="Write it like 2026-01-31.")
    return value


WrittenPrice = Annotated[Price, BeforeValidator(_written)]
WrittenDay = Annotated[date, Field(strict=False), BeforeValidator(_only_a_date)]
