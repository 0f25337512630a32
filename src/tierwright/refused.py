"""The refusal of a value at the edge of SQL."""

from __future__ import annotations

from sqlalchemy.exc import DontWrapMixin

from tierwright.errors import InvalidInput


class RefusedValue(InvalidInput, DontWrapMixin):
    """InvalidInput that SQLAlchemy hands on as it is, instead of wrapping it in a StatementError."""


RefusedValue.code = InvalidInput.code  # a private detail must not show as a code of its own
