"""What pydantic says of a bad input, in one of our errors: which field, and what is wrong, never the input itself."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from tierwright.errors import InvalidInput

_LONGEST_PROBLEM = 300
_LONGEST_FIELD = 80
_PROBLEMS_MOST = 5


@contextmanager
def typed_input(what: str) -> Iterator[None]:
    """Raise every refusal of a value as a short, printable InvalidInput.

    Args:
        what: what is being checked, such as ``feature``.

    Raises:
        InvalidInput: a value breaks the contract of its field.
    """
    try:
        yield
    except ValidationError as error:
        # Not `from error`: its text and its frames would carry the input along.
        raise _invalid(what, _problems(error), _remedy(error)) from None
    except InvalidInput as error:
        raise InvalidInput(_sentence(what, _short(error.message, _LONGEST_PROBLEM)), remedy=error.remedy) from None


def _problems(error: ValidationError) -> list[tuple[str, str]]:
    found = error.errors(include_url=False, include_input=False)[:_PROBLEMS_MOST]
    return [(_field(each["loc"]), _problem(each)) for each in found]


def _problem(found: Any) -> str:
    ours = found.get("ctx", {}).get("error")
    text = ours.message if isinstance(ours, InvalidInput) else str(found["msg"]).removeprefix("Value error, ")
    return _short(text, _LONGEST_PROBLEM).rstrip(".")


def _remedy(error: ValidationError) -> str:
    """Return what our own rule says about its only problem, or of all problems the same."""
    ours = [each.get("ctx", {}).get("error") for each in error.errors(include_url=False, include_input=False)]
    said = {each.remedy if isinstance(each, InvalidInput) else "Correct the input." for each in ours}
    return said.pop() if len(said) == 1 else "Correct the input."


def _field(location: tuple[int | str, ...]) -> str:
    return _short(".".join(str(part) for part in location), _LONGEST_FIELD)


def _invalid(what: str, problems: list[tuple[str, str]], remedy: str) -> InvalidInput:
    said = "; ".join(f"{field}: {problem}" if field else problem for field, problem in problems)
    return InvalidInput(
        _sentence(what, said),
        remedy=remedy,
        details={"problems": [{"field": field, "problem": problem} for field, problem in problems]},
    )


def _sentence(what: str, problem: str) -> str:
    return f"Not a valid {what}: {problem.rstrip('.')}."


def _short(text: str, longest: int) -> str:
    printable = text[: longest + 1].encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")
    return printable if len(printable) <= longest else f"{printable[: longest - 1]}…"
