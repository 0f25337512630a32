"""Whether the keys of a process are those that the database was written with, asked when it starts.

The row ``secrets_canary`` of ``tierwright_state`` holds, by key id, a known text that was sealed under that key. A
process with another key of the same id would otherwise find out at the first secret that it needs, or never: it would
write new ones that nobody else can read.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.errors import DecryptionFailed, EnvelopeInvalid
from tierwright.rotation.rows import Sealed, page_under
from tierwright.secrets import providing
from tierwright.secrets.envelope import Binding, open_sealed, seal
from tierwright.secrets.hidden import Hidden
from tierwright.secrets.keys import KeyProvider
from tierwright.services.session_state import connection_of
from tierwright.services.statements import STATE
from tierwright.services.tenant_scope import require_all_tenants

_STATE_KEY = "secrets_canary"
_TEXT = b"tierwright secrets canary"
#: Some secrets may have been damaged or copied; a right key opens others.
_SAMPLE = 20
_PLACE = Binding("tierwright_state", "value", "", _STATE_KEY, 0)


@dataclass(frozen=True, slots=True)
class KeyCheck:
    """What is known of the keys of a process.

    Attributes:
        active_key_id: the key that wraps.
        verified: the key ids whose keys are the right ones.
        created: whether the active key was seen here for the first time, and its canary written.
        unknown: whether the active key was never seen here, and no canary was written.
    """

    active_key_id: str
    verified: tuple[str, ...]
    created: bool = False
    unknown: bool = False


def verify_keys(session: Session, keys: KeyProvider, *, create: bool = True) -> KeyCheck:
    """Check that the keys are those that the database was written with; for the start of a process.

    Args:
        session: the host's; it commits.
        keys: a ring, of which every key is checked, or another provider, of which the active one is.
        create: write a canary for an active key that was never seen; needs the right to write ``tierwright_state``,
            and to see the rows of all tenants, because secrets that are under that key already must open.

    Raises:
        DecryptionFailed: a key is another one than the key of its id that was used before; or the provider failed, then
            with the class of what it raised as ``cause`` in the details.
        PrivilegeMissing: a canary is to be written, and row-level security hides rows from the current role.
        EnvelopeInvalid: the canary was damaged.
        SecretsNotConfigured: the keys wrap nothing.
    """
    connection = connection_of(session, writing=create)
    active = providing.active_key_id(keys)
    known = _known(connection.execute(sa.select(STATE.c.value).where(STATE.c.key == _STATE_KEY)).scalar())
    asked = [active, *(key_id for key_id in getattr(keys, "key_ids", ()) if key_id != active)]
    verified = tuple(key_id for key_id in asked if key_id in known)
    for key_id in verified:
        _check(key_id, known[key_id], keys)
    if active in known:
        return KeyCheck(active, verified)
    if not create:
        return KeyCheck(active, verified, unknown=True)
    _check_rows(connection, active, keys)
    _check(active, _add(connection, active, base64.b64encode(seal(Hidden(_TEXT), (), keys, _PLACE)).decode()), keys)
    return KeyCheck(active, (*verified, active), created=True)


def _check(key_id: str, canary: str, keys: KeyProvider) -> None:
    try:
        text = open_sealed(_decoded(canary), keys, _PLACE)
    except DecryptionFailed as error:
        _refuse_failure(error)
        text = Hidden(b"")
    if text.reveal() != _TEXT:
        raise _another_key(key_id)


def _refuse_failure(error: DecryptionFailed) -> None:
    """Pass on that the provider has failed, which says nothing about the key: its service may be out of reach."""
    if "cause" in error.details:
        raise error


def _check_rows(connection: Connection, key_id: str, keys: KeyProvider) -> None:
    """Refuse a key that opens none of the secrets that are under its id; a few are enough to tell."""
    require_all_tenants(connection)
    found = page_under(connection, key_id, _SAMPLE)
    if found and not any(_opens(row, keys) for row in found):
        raise _another_key(key_id)


def _opens(row: Sealed, keys: KeyProvider) -> bool:
    try:
        open_sealed(row.envelope, keys, row.binding)
    except EnvelopeInvalid:
        return False
    except DecryptionFailed as error:
        _refuse_failure(error)
        return False
    return True


def _another_key(key_id: str) -> DecryptionFailed:
    return DecryptionFailed(
        f"The key {key_id!r} of this process is not the key of that id that the database was written with.",
        remedy="Give the process the right key; a new key needs a new id.",
        details={"key_id": key_id},
    )


def _add(connection: Connection, key_id: str, canary: str) -> str:
    """Add a canary to the row, unless others have been faster; return the one that is there."""
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(insert(STATE).values(key=_STATE_KEY, value={}, version=0).on_conflict_do_nothing())
    row = connection.execute(
        sa.select(STATE.c.value, STATE.c.version).where(STATE.c.key == _STATE_KEY).with_for_update()
    ).one()
    found = {key_id: canary, **_known(row.value)}
    connection.execute(sa.update(STATE).where(STATE.c.key == _STATE_KEY).values(value=found, version=row.version + 1))
    return found[key_id]


def _known(value: Any) -> Mapping[str, str]:
    if not isinstance(value, dict):
        return {}
    return {key_id: canary for key_id, canary in value.items() if isinstance(canary, str)}


def _decoded(canary: str) -> bytes:
    try:
        return base64.b64decode(canary, validate=True)
    except ValueError:
        raise EnvelopeInvalid("The canary of the keys is damaged.", remedy="Delete it from tierwright_state.") from None
