"""What the entries of a list say, checked: each function returns a field's value, or raises Unmappable with the why."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter, ValidationError

from tierwright.exact_decimal import exact_decimal
from tierwright.tables.inputs import MAX_INT32, Name, ShortName

_KEYS: TypeAdapter[tuple[str, str]] = TypeAdapter(tuple[ShortName, Name])


class Unmappable(ValueError):
    """An entry of a list says something that no model can have."""


def check_keys(provider: str, model_id: str) -> None:
    """Refuse a provider or id that no row could have.

    Raises:
        Unmappable: too long, empty, white space at an end, a NUL.
    """
    try:
        _KEYS.validate_python((provider, model_id))
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        raise Unmappable(f"{('provider', 'id')[int(problem['loc'][0])]}: {problem['msg']}") from None


def flag(entry: Mapping[str, Any], name: str) -> bool:
    """Return a capability; what the list does not mention is absent.

    Raises:
        Unmappable: it is neither true nor false.
    """
    value = entry.get(name)
    if value is not None and not isinstance(value, bool):
        raise Unmappable(f"{name} is neither true nor false")
    return bool(value)


def count(entry: Mapping[str, Any], name: str) -> int | None:
    """Return a number of tokens.

    Raises:
        Unmappable: it is no whole number, negative, or beyond what a column holds.
    """
    value = entry.get(name)
    if value is None:
        return None
    # 1e6 is a whole number too; int() of a decimal with a huge exponent would fill the memory.
    if isinstance(value, Decimal) and value.adjusted() < 12 and value == value.to_integral_value():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MAX_INT32:
        raise Unmappable(f"{name} is no number of tokens: {value!s:.40}")
    return value


def price_of_1k(entry: Mapping[str, Any], name: str) -> Decimal | None:
    """Return the price of 1,000 tokens, where the list has that of one.

    Raises:
        Unmappable: it is no number, or negative, or endless.
    """
    value = entry.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, Decimal | int) or value < 0:
        raise Unmappable(f"{name} is no price: {value!s:.40}")
    try:
        return per_1k(value)
    except ValueError:
        raise Unmappable(f"{name} has more than 1,000 digits") from None


def per_1k(per_token: Decimal | int) -> Decimal:
    """Return a thousand times a finite number, exactly.

    The exponent is moved by hand: ``*`` and ``scaleb`` round to the digits of the decimal context.

    Raises:
        InvalidInput: it has more than 1,000 digits, written out.
    """
    sign, digits, exponent = Decimal(per_token).as_tuple()
    return exact_decimal(Decimal((sign, digits, int(exponent) + 3)))


def day(entry: Mapping[str, Any], name: str) -> date | None:
    """Return a day.

    Raises:
        Unmappable: it is not written like 2026-01-31, or does not exist.
    """
    text = entry.get(name)
    if text is None:
        return None
    try:
        # fromisoformat() alone would take 20260131 and 2026-W05-6 too.
        if isinstance(text, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            return date.fromisoformat(text)
    except ValueError:
        pass
    raise Unmappable(f"{name} is no day like 2026-01-31: {text!s:.40}")


def feature_keys(providers: Iterable[str]) -> tuple[dict[str, str], dict[str, str]]:
    """Return each provider's feature key, and why another provider has none.

    A key is ``models.`` and the name in what a key may hold. Two names that become one key get none: granting one
    provider's models must never grant another's.
    """
    owners: dict[str, list[str]] = defaultdict(list)
    for provider in sorted(set(providers)):
        owners["models." + re.sub(r"[^a-z0-9_-]+", "-", provider.lower()).strip("-")].append(provider)
    keys: dict[str, str] = {}
    refused: dict[str, str] = {}
    for key, named in owners.items():
        if key == "models." or len(key) > 255 or len(named) > 1:
            refused |= dict.fromkeys(named, f"no feature key of its own for {', '.join(named):.200}")
        else:
            keys[named[0]] = key
    return keys, refused
