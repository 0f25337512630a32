"""The root of all errors, and what each of them carries; the tree is in :mod:`tierwright.errors`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar


class TierwrightError(Exception):
    """The root of all errors of this library.

    Args:
        message: what was found, in one sentence.
        remedy: what to do about it, in one sentence.
        details: JSON-able facts for machines (table names, counts, SQL).
    """

    code: ClassVar[str] = "tierwright-error"

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.code = re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()

    def __init__(self, message: str, *, remedy: str, details: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        self.details: dict[str, Any] = dict(details or {})

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.message, self.remedy, self.details)


def _rebuild(cls: type[TierwrightError], message: str, remedy: str, details: dict[str, Any]) -> TierwrightError:
    """Unpickle an error (exceptions with keyword-only arguments cannot do it on their own)."""
    return cls(message, remedy=remedy, details=details)
