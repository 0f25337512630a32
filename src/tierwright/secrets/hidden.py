"""A value that nothing shows by accident."""

from __future__ import annotations

from typing import Generic, NoReturn, TypeVar

T = TypeVar("T")
_SHOWN = "<hidden>"


class Hidden(Generic[T]):
    """A value that neither ``repr``, a format string, a pickle nor a comparison gives away; :meth:`reveal` does.

    Logs and tracebacks with local variables show ``<hidden>``. Two of them are never equal, even of the same value.

    Args:
        value: what to hide.
    """

    __slots__ = ("__value",)

    def __init__(self, value: T) -> None:
        self.__value = value

    def reveal(self) -> T:
        """Return the value; keep it out of local variables where something may be raised."""
        return self.__value

    def __repr__(self) -> str:
        return _SHOWN

    __str__ = __repr__

    def __format__(self, _specification: str) -> str:
        return _SHOWN

    def __reduce_ex__(self, _protocol: object) -> NoReturn:
        raise TypeError("A hidden value cannot be copied or pickled")
