"""Moving stored secrets to the active key, while the application goes on writing.

Nothing is remembered between runs: what is still under another key is what is left to do, so a run that was killed is
simply begun again. A row is written only if it still holds what was read, so nobody's newer secret is overwritten; one
whose new envelope does not open, or whose old one does not, stays as it is.
"""

from __future__ import annotations

import hmac
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, sessionmaker

from tierwright.errors import DecryptionFailed, InvalidInput, SecretsError, SecretsNotConfigured
from tierwright.rotation.rows import Sealed, page_after, swap
from tierwright.secrets import providing
from tierwright.secrets.envelope import header_of, key_id_of, open_sealed, rewrap, seal
from tierwright.secrets.keys import KeyProvider
from tierwright.services.audit import AuditContext, write_audit
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.services.transactions import run_in_transaction
from tierwright.types import AuditAction, AuditEntity

_ACTOR = "tierwright secrets rotate"
#: So often the rows are gone through, where writers with an old key ring go on writing.
_MOST_PASSES = 20
_EXAMPLES = 20


@dataclass
class RotationReport:
    """What a rotation has done.

    Attributes:
        key_id: the active key.
        found: rows with secrets, when they were first gone through.
        rotated: rows that were moved; in a dry run, that would be.
        current: rows that were under the active key already.
        failed: rows that could not be moved, by the code of the error.
        examples: some of them: integration, tenant and code.
        remaining: rows that others put back under another key, again and again.
    """

    key_id: str
    found: int = 0
    rotated: int = 0
    current: int = 0
    failed: Counter[str] = field(default_factory=Counter)
    examples: list[tuple[str, str, str]] = field(default_factory=list)
    remaining: int = 0

    @property
    def ok(self) -> bool:
        """Whether every row is under the active key now, or in a dry run could be."""
        return not self.failed and not self.remaining


def rotate(
    engine: Engine,
    keys: KeyProvider,
    *,
    rewrap_only: bool = False,
    dry_run: bool = False,
    batch_size: int = 200,
    actor: str = _ACTOR,
    progress: Callable[[int], None] | None = None,
) -> RotationReport:
    """Bring all stored secrets under the active key, a batch in a transaction; safe to stop and to begin again.

    ``secret_version``, ``config_version`` and ``updated_at`` stay: the secrets are the same. Each batch leaves an
    audit entry with the number of its rows.

    Args:
        engine: of a role that sees the rows of all tenants.
        keys: has every key that rows are under, and the active one.
        rewrap_only: wrap the data keys anew and leave the ciphertexts; faster, and enough where only the key that
            wraps is retired. Without it every row gets a new data key, as after a leak.
        dry_run: open and seal everything, and write nothing.
        batch_size: rows in a transaction.
        actor: who it is, for the history.
        progress: called with the number of rows that were gone through.

    Raises:
        SecretsNotConfigured: the keys wrap nothing.
        PrivilegeMissing: row-level security hides rows from the current role.
        InvalidInput: ``batch_size`` is not a positive whole number.
        RetryTransaction: others held the rows or the file for too long; run it again.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise InvalidInput("batch_size is not a positive whole number.", remedy="Leave it out.")
    work = _Rotation(engine, keys, _rewrapped if rewrap_only else _sealed_anew, dry_run, batch_size, actor, progress)
    with engine.connect() as connection:
        require_all_tenants(connection)
    return work.run()


class _Rotation:
    def __init__(
        self,
        engine: Engine,
        keys: KeyProvider,
        renew: Callable[[Sealed, KeyProvider], bytes],
        dry_run: bool,
        batch_size: int,
        actor: str,
        progress: Callable[[int], None] | None,
    ) -> None:
        self._engine = engine
        self._sessions = sessionmaker(engine)
        self._keys = keys
        self._renew = renew
        self._dry_run = dry_run
        self._size = batch_size
        self._context = AuditContext(actor)
        self._progress = progress or (lambda _rows: None)
        self._report = RotationReport(providing.active_key_id(keys))
        #: What has failed, so that another pass does not try it again.
        self._failed: dict[tuple[str, str], bytes] = {}

    def run(self) -> RotationReport:
        self._pass(first=True)
        for _ in range(0 if self._dry_run else _MOST_PASSES):
            moved, lost = self._pass(first=False)
            self._report.remaining = lost
            if not moved and not lost:
                break
        return self._report

    def _pass(self, *, first: bool) -> tuple[int, int]:
        """Go through all rows once; return how many were moved, and how many others wrote meanwhile."""
        moved = lost = gone = 0
        for page in self._pages():
            old = [row for row in page if self._is_due(row, first)]
            changes = [change for row in old if (change := self._changed(row)) is not None]
            written = self._written(changes)
            moved += written
            lost += len(changes) - written
            gone += len(page)
            self._progress(gone)
            if first:
                self._report.found += len(page)
                self._report.current += len(page) - len(old)
        self._report.rotated += moved
        return moved, lost

    def _pages(self) -> Iterator[list[Sealed]]:
        last: tuple[str, str] | None = None
        while True:
            # No transaction stays open while a batch is worked on: it would keep the rows' old versions alive.
            with self._engine.connect() as connection:
                page = page_after(connection, last, self._size)
            if not page:
                return
            yield page
            last = page[-1].integration_key, page[-1].tenant_id

    def _is_due(self, row: Sealed, first: bool) -> bool:
        try:
            is_current = key_id_of(row.envelope) == self._report.key_id
        except SecretsError:
            is_current = False
        return not is_current and (first or self._failed.get((row.integration_key, row.tenant_id)) != row.envelope)

    def _changed(self, row: Sealed) -> tuple[Sealed, bytes] | None:
        """Return a row with its new envelope, which opens; None where that cannot be made."""
        try:
            return row, self._renew(row, self._keys)
        except SecretsNotConfigured:
            raise  # no row could be moved
        except SecretsError as error:
            self._failed[row.integration_key, row.tenant_id] = row.envelope
            self._report.failed[error.code] += 1
            if len(self._report.examples) < _EXAMPLES:
                self._report.examples.append((row.integration_key, row.tenant_id, error.code))
            return None

    def _written(self, changes: list[tuple[Sealed, bytes]]) -> int:
        if not changes or self._dry_run:
            return len(changes)

        def write(session: Session) -> int:
            written = swap(session.connection(), changes)
            if written:
                said = {"rows": written, "key_id": self._report.key_id}
                write_audit(session, self._context, AuditEntity.TENANT_INTEGRATION, "*", AuditAction.ROTATED, new=said)
            return written

        return run_in_transaction(self._sessions, write)


def _sealed_anew(row: Sealed, keys: KeyProvider) -> bytes:
    """Return the same secrets under a new data key.

    Raises:
        DecryptionFailed: what was sealed does not come back.
    """
    secrets = open_sealed(row.envelope, keys, row.binding)
    envelope = seal(secrets, header_of(row.envelope).names, keys, row.binding)
    if not hmac.compare_digest(open_sealed(envelope, keys, row.binding).reveal(), secrets.reveal()):
        raise DecryptionFailed("The new envelope holds something else.", remedy="Look at the key provider.")
    return envelope


def _rewrapped(row: Sealed, keys: KeyProvider) -> bytes:
    """Return the same ciphertext with its data key wrapped anew.

    Raises:
        DecryptionFailed: it does not open.
    """
    envelope = rewrap(row.envelope, keys, row.binding)
    open_sealed(envelope, keys, row.binding)  # the ciphertext is authenticated: if it opens, it holds the same
    return envelope
