"""What tenants have configured for integrations: one document to the caller, two columns in the database."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any
from uuid import UUID

from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.config_schema import ConfigSchema
from tierwright.config_schema.shield import shielded
from tierwright.integrations import rows
from tierwright.integrations.configuring import configured
from tierwright.integrations.permission import refuse_denied
from tierwright.integrations.records import ConfigResult, Credentials, Secrets, TenantIntegration
from tierwright.integrations.rows import Stored
from tierwright.integrations.sealing import names_in, open_secrets
from tierwright.integrations.settings import hidden, refuse_unready
from tierwright.integrations.writing import Write
from tierwright.secrets.hidden import Hidden
from tierwright.secrets.keys import KeyProvider
from tierwright.services.given import require_session
from tierwright.services.registry.inputs import key_of, tenant_of
from tierwright.services.registry.rows import not_found
from tierwright.services.session_state import connection_of
from tierwright.services.tenant_scope import tenant_scope
from tierwright.types import AuditAction


class TenantIntegrations:
    """What the tenants of a host have configured for its integrations, through one session.

    Secrets are sealed before they reach the database and opened only by :meth:`reveal` and :meth:`credentials`.
    Writes lock the tenant, leave an audit entry with names and versions, and flush; the host commits.

    Every method may raise:

    - InvalidInput: this cannot be a tenant or an integration's key; before any SQL.
    - RetryTransaction: another transaction came first (writes). AuditContextMissing: nobody says who writes.

    Args:
        session: the host's session.
        keys: what wraps the keys of secrets; without it nothing works that needs a secret, and everything else does.

    Raises:
        SessionMissing: not a session.
    """

    def __init__(self, session: Session, *, keys: KeyProvider | None = None) -> None:
        require_session(session, for_async="Use AsyncTenantIntegrations(session).")
        self._session = session
        self._keys = keys

    # --- reading -----------------------------------------------------------------------------------------------------

    def list(self, tenant: str | int | UUID) -> tuple[TenantIntegration, ...]:
        """Return what a tenant has configured, by integration; nothing is decrypted, and no key is needed."""
        tenant_id = tenant_of(tenant)
        connection = self._reading()
        with tenant_scope(connection, tenant_id):
            return tuple(row.told() for row in rows.all_stored(connection, tenant_id))

    def get(self, tenant: str | int | UUID, integration: str) -> TenantIntegration:
        """Return what a tenant has configured for one integration; nothing is decrypted, and no key is needed.

        Raises:
            NotFound: it has configured nothing.
        """
        return self._row(self._reading(), tenant_of(tenant), _key(integration)).told()

    def credentials(self, tenant: str | int | UUID, integration: str) -> Credentials:
        """Return settings and secrets to connect with, where the tenant may use the integration now.

        For the application itself; a person who looks at secrets goes through :meth:`reveal`, which leaves a trace.

        Raises:
            NotFound: the tenant has configured nothing, or has switched it off, or the integration is retired.
            FeatureDenied, EntitlementsUnavailable: it lacks a feature that the integration needs, or nobody can tell.
            SecretsNotConfigured, UnknownKeyId, DecryptionFailed, EnvelopeInvalid: the secrets cannot be opened.
        """
        tenant_id, key = tenant_of(tenant), _key(integration)
        connection = self._reading()
        row = self._row(connection, tenant_id, key)
        if not row.is_enabled:
            raise not_found("enabled configuration", f"of {key} for {tenant_id}")
        refuse_denied(self._session, rows.integration(connection, key), tenant_id)
        secrets = open_secrets(row.sealed, self._keys, row.binding())
        return Credentials(tenant_id, key, row.config, secrets, row.config_version)

    # --- writing -----------------------------------------------------------------------------------------------------

    def configure(
        self,
        tenant: str | int | UUID,
        integration: str,
        document: Mapping[str, Any] | Hidden[Mapping[str, Any]],
        *,
        expected_version: int | None = None,
        forget: Collection[str] = (),
        replace: bool = False,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ConfigResult:
        """Store settings and secrets, each in its column, in place of the earlier ones.

        The document is checked against the integration's ``config_schema``; what that marks ``"writeOnly": true`` is
        sealed. Secrets that the document leaves out stay as they are. One without secrets needs no key.

        Args:
            tenant: the host's identifier of the tenant.
            integration: the integration.
            document: settings and secrets together.
            expected_version: the ``config_version`` that the caller has seen, 0 for none; None is any.
            forget: names (JSON Pointers) of secrets to drop.
            replace: drop all secrets that the document leaves out, without opening the stored ones: the only way over
                secrets that cannot be decrypted any more.
            actor: who writes.
            reason: why.

        Returns:
            Whether anything changed, and the versions that the row has now; with a warning that names the secrets which
            the schema requires and which are not there yet. While it is not enabled, they may come later.

        Raises:
            ReferenceUnknown: there is no such integration.
            ConfigInvalid: the settings do not fit the schema, or an enabled integration would lack a secret.
            SecretInPlainConfig: the public part holds what looks like a secret.
            ConfigChanged: the row has another version than ``expected_version``.
            SecretsNotConfigured, UnknownKeyId, DecryptionFailed, EnvelopeInvalid: secrets are to change, and cannot be
                sealed, or the stored ones not opened.
        """
        document = hidden(document)
        with self._write(tenant, integration, expected_version, actor, reason) as write:
            schema = ConfigSchema.of(write.registered.config_schema)
            change = configured(schema, write.row, document, forget, replace, self._keys, write.place)
            action = AuditAction.CREATED if write.row is None else AuditAction.UPDATED
            return write.done(action, change.values, change.for_audit(), change.warnings())

    def enable(
        self,
        tenant: str | int | UUID,
        integration: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ConfigResult:
        """Switch a configured integration on.

        Args:
            tenant, integration, expected_version, actor, reason: as in :meth:`configure`.

        Raises:
            NotFound: the tenant has configured nothing, or the integration is retired.
            FeatureDenied, EntitlementsUnavailable: it lacks a feature that the integration needs, or nobody can tell.
            ConfigInvalid: the stored settings do not fit the schema of today, or a required secret is missing.
            SecretInPlainConfig, EnvelopeInvalid: what is stored is not as :meth:`configure` leaves it.
            ConfigChanged: as in :meth:`configure`.
        """
        with self._write(tenant, integration, expected_version, actor, reason) as write:
            row = write.existing()
            refuse_denied(self._session, write.registered, row.tenant_id)
            schema = ConfigSchema.of(write.registered.config_schema)
            shielded(lambda: refuse_unready(schema, row.config, names_in(row.sealed)))
            return write.switched(True)

    def disable(
        self,
        tenant: str | int | UUID,
        integration: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ConfigResult:
        """Switch an integration off; settings and secrets stay.

        Args:
            tenant, integration, expected_version, actor, reason: as in :meth:`configure`.

        Raises:
            NotFound: the tenant has configured nothing.
            ConfigChanged: as in :meth:`configure`.
        """
        with self._write(tenant, integration, expected_version, actor, reason) as write:
            write.existing()
            return write.switched(False)

    def remove(
        self,
        tenant: str | int | UUID,
        integration: str,
        *,
        expected_version: int | None = None,
        actor: str | None = None,
        reason: str | None = None,
    ) -> ConfigResult:
        """Delete settings and secrets of an integration; where it is configured anew, the versions begin at 1 again.

        Args:
            tenant, integration, expected_version, actor, reason: as in :meth:`configure`.

        Raises:
            NotFound: the tenant has configured nothing.
            ConfigChanged: as in :meth:`configure`.
        """
        with self._write(tenant, integration, expected_version, actor, reason) as write:
            write.existing()
            return write.removed()

    def reveal(
        self, tenant: str | int | UUID, integration: str, *, actor: str | None = None, reason: str | None = None
    ) -> Secrets:
        """Return the secrets of an integration to a person, and note in the history who has seen which.

        Args:
            tenant, integration, actor, reason: as in :meth:`configure`.

        Raises:
            NotFound: the tenant has configured nothing.
            SecretsNotConfigured, UnknownKeyId, DecryptionFailed, EnvelopeInvalid: they cannot be opened.
        """
        with self._write(tenant, integration, None, actor, reason) as write:
            row = write.existing()
            secrets = open_secrets(row.sealed, self._keys, row.binding())
            write.note(AuditAction.REVEALED, new={"secrets": list(secrets.names), "secret_version": row.secret_version})
            return secrets

    # --- the ways to a row -------------------------------------------------------------------------------------------

    def _reading(self) -> Connection:
        if self._session.autoflush:
            self._session.flush()  # as the ORM does before it reads
        return connection_of(self._session, writing=False)

    def _row(self, connection: Connection, tenant_id: str, key: str) -> Stored:
        with tenant_scope(connection, tenant_id):
            row = rows.stored(connection, tenant_id, key)
        if row is None:
            raise rows.unconfigured(tenant_id, key)
        return row

    def _write(
        self,
        tenant: str | int | UUID,
        integration: str,
        expected_version: int | None,
        actor: str | None,
        reason: str | None,
    ) -> Write:
        return Write(self._session, tenant_of(tenant), _key(integration), expected_version, actor, reason)


def _key(integration: str) -> str:
    return key_of("integration key", integration)
