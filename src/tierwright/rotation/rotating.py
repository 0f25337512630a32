"""Moving stored secrets to the active key, while the application goes on writing.

Nothing is remembered between runs: what is still under another key is what is left to do, so a run that was killed is
simply begun again. A row is written only if it still holds what was read, so nobody's newer secret is overwritten; one
whose new envelope does not open, or whose old one does not, stays as it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session, sessionmaker

from tierwright.errors import DecryptionFailed, InvalidInput, SecretsError, SecretsNotConfigured
from tierwright.rotation.rows import Sealed, counts, page_after, swap
from tierwright.secrets import providing
from tierwright.secrets.envelope import Binding, reseal, rewrap
from tierwright.secrets.keys import KeyProvider
from tierwright.services.audit import AuditContext, write_audit
from tierwright.services.tenant_scope import require_all_tenants
from tierwright.services.transactions import run_in_transaction
from tierwright.types import AuditAction, AuditEntity

_ACTOR = "tierwright secrets rotate"
#: So often the rows are gone through, where writers with an old key ring go on writing.
_MOST_PASSES = 20
#: So many rows, one after the other, for which the key provider fails, are no accident.
_MOST_OUTAGES = 20
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
    batch_size: int = 1000,
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
        progress: called with the number of rows that were gone through in a pass.

    Raises:
        SecretsNotConfigured: the keys wrap nothing.
        DecryptionFailed: the key provider fails, for one row after the other; what was moved stays moved.
        PrivilegeMissing: row-level security hides rows from the current role.
        InvalidInput: ``batch_size`` is not a positive whole number.
        RetryTransaction: others held the rows or the file for too long; run it again.
    """
    if type(batch_size) is not int or batch_size < 1:
        raise InvalidInput("batch_size is not a positive whole number.", remedy="Leave it out.")
    work = _Rotation(engine, keys, rewrap if rewrap_only else reseal, dry_run, batch_size, actor, progress)
    with engine.connect() as connection:
        require_all_tenants(connection)
    return work.run()


class _Rotation:
    def __init__(
        self,
        engine: Engine,
        keys: KeyProvider,
        renew: Callable[[bytes, KeyProvider, Binding], bytes],
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
        #: Rows, one after the other, for which the key provider failed.
        self._outages = 0
        #: What has failed, so that another pass does not try it again.
        self._failed: dict[tuple[str, str], bytes] = {}

    def run(self) -> RotationReport:
        with self._engine.connect() as connection:
            self._report.found, due = counts(connection, self._report.key_id)
        self._report.current = self._report.found - due
        self._pass()
        for _ in range(0 if self._dry_run else _MOST_PASSES):
            moved, lost = self._pass()
            self._report.remaining = lost
            if not moved and not lost:
                break
        return self._report

    def _pass(self) -> tuple[int, int]:
        """Go once through the rows under other keys; return how many were moved, and how many others had written."""
        moved = lost = gone = 0
        for page in self._pages():
            changes = [change for row in page if (change := self._changed(row)) is not None]
            written = self._written(changes)
            moved += written
            lost += len(changes) - written
            gone += len(page)
            self._progress(gone)
        self._report.rotated += moved
        return moved, lost

    def _pages(self) -> Iterator[list[Sealed]]:
        last: tuple[str, str] | None = None
        while True:
            # No transaction stays open while a batch is worked on: it would keep the rows' old versions alive.
            with self._engine.connect() as connection:
                page = page_after(connection, self._report.key_id, last, self._size)
            if not page:
                return
            yield page
            last = page[-1].integration_key, page[-1].tenant_id

    def _changed(self, row: Sealed) -> tuple[Sealed, bytes] | None:
        """Return a row with its new envelope, which was read back; None where that cannot be made."""
        if self._failed and self._failed.get((row.integration_key, row.tenant_id)) == row.envelope:
            return None  # of an earlier pass
        try:
            renewed = self._renew(row.envelope, self._keys, row.binding)
        except SecretsNotConfigured:
            raise  # no row could be moved
        except SecretsError as error:
            self._count_outage(error)
            self._failed[row.integration_key, row.tenant_id] = row.envelope
            self._report.failed[error.code] += 1
            if len(self._report.examples) < _EXAMPLES:
                self._report.examples.append((row.integration_key, row.tenant_id, error.code))
            return None
        self._outages = 0
        return row, renewed

    def _count_outage(self, error: SecretsError) -> None:
        """Give up where it is not the rows: a service that is down would be asked, and waited for, once for each."""
        cause = error.details.get("cause")
        self._outages = self._outages + 1 if cause else 0
        if self._outages >= _MOST_OUTAGES:
            raise DecryptionFailed(
                f"The key provider failed for {self._outages} rows, one after the other ({cause}).",
                remedy="Rotate again when it answers: what was moved stays moved, the rest stays readable as it was.",
                details=dict(error.details),
            )

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
