"""Which feature was meant by a key that no feature has: a question at the end of a remedy.

Read on the way out with an error only, by one statement that says how much it reads at most. Features are the same for
everybody, so naming them tells nothing of a tenant; tenants are never looked for in this way.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from itertools import islice

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from tierwright.services.statements import FEATURES
from tierwright.types import is_feature_key

_MOST = 3
#: What is compared is bounded, because a write holds its locks meanwhile: some 10 ms for keys as people write them.
_MOST_READ = 2_000
_LONGEST = 100
#: How similar two keys are at least; less would name neighbours that have only the group before the dot in common.
_CUTOFF = 0.8


def asked(connection: Connection, remedy: str, keys: Sequence[str]) -> str:
    """Return a remedy that asks whether keys of the registry were meant; unchanged where none is similar.

    Args:
        connection: where to read; nothing is read where no key has the form of one, or all are too long.
        remedy: what to do about it, in one sentence.
        keys: those that no feature has; the first few are looked at.
    """
    return asked_of(_candidates(connection, keys), remedy, keys)


def asked_of(known: Iterable[str], remedy: str, keys: Sequence[str]) -> str:
    """Return what :func:`asked` returns, of keys that were read already."""
    meant = _meant(_formed(keys), list(islice(known, _MOST_READ)))
    return f"{remedy.removesuffix('.')}; did you mean {meant}?" if meant else remedy


def near(connection: Connection, key: str) -> list[str]:
    """Return the keys of the registry that may have been meant by one, the most similar first; at most three."""
    return _near(key, _candidates(connection, [key]), _MOST)


def listed(keys: Sequence[str]) -> str:
    """Return keys as one may say them: ``a, b or c``."""
    return " or ".join(filter(None, (", ".join(keys[:-1]), *keys[-1:])))


def _meant(keys: Sequence[str], known: Sequence[str]) -> str:
    if len(keys) == 1:
        return listed(_near(keys[0], known, _MOST))
    pairs = [(key, _near(key, known, 1)) for key in keys]
    return " and ".join(f"{found[0]} for {key}" for key, found in pairs if found)


def _near(key: str, known: Sequence[str], most: int) -> list[str]:
    return difflib.get_close_matches(key, known, most, _CUTOFF)


def _formed(keys: Sequence[str]) -> list[str]:
    return [key for key in keys if len(key) <= _LONGEST and is_feature_key(key)][:_MOST]


def _candidates(connection: Connection, keys: Sequence[str]) -> list[str]:
    """Return the keys of the registry that are of about the same length as one of these."""
    lengths = [len(key) for key in _formed(keys)]
    if not lengths:
        return []
    # Others cannot be similar enough: twice the shorter length over both lengths is the most that difflib finds.
    shortest, longest = int(min(lengths) * _CUTOFF / (2 - _CUTOFF)), int(max(lengths) * (2 - _CUTOFF) / _CUTOFF) + 1
    column = FEATURES.c.feature_key
    statement = sa.select(column).where(sa.func.length(column).between(shortest, longest))
    return list(connection.execute(statement.order_by(column).limit(_MOST_READ)).scalars())
