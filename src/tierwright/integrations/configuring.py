"""One write of settings: what becomes of each column, of the versions, and what the history says of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tierwright.config_schema import ConfigSchema
from tierwright.config_schema.pointers import shown
from tierwright.config_schema.shield import shielded
from tierwright.integrations.rows import Stored
from tierwright.integrations.sealing import HiddenSecrets, names_in, open_secrets, seal_secrets
from tierwright.integrations.settings import HiddenDocument, Settings, names_of, refuse_invalid, storable, taken_apart
from tierwright.secrets.envelope import Binding
from tierwright.secrets.hidden import Hidden
from tierwright.secrets.keys import KeyProvider
from tierwright.services.registry.rows import same


@dataclass(frozen=True, slots=True)
class Change:
    """What a write changes.

    Attributes:
        values: the columns to write; empty where nothing changes.
        config: the changed public settings, as the history names them.
        secrets: the names of the changed secrets.
        config_version, secret_version: the versions afterwards.
        missing: the names of secrets that the schema requires, and without which it cannot be enabled.
    """

    values: dict[str, Any] = field(repr=False)
    config: list[str]
    secrets: list[str]
    config_version: int
    secret_version: int
    missing: Collection[str] = ()

    def warnings(self) -> tuple[str, ...]:
        """Return what the writer should know."""
        named = ", ".join(self.missing)
        return (f"It cannot be enabled without the secrets that its schema requires: {named}.",) if named else ()

    def for_audit(self) -> dict[str, Any]:
        """Return what the history holds: names and versions, no value."""
        return {
            "config": self.config,
            "secrets": self.secrets,
            "config_version": self.config_version,
            "secret_version": self.secret_version,
        }


@dataclass(frozen=True, slots=True)
class SecretChange:
    """The secrets as they shall be, if they shall change.

    Attributes:
        names: of those that change; empty where all stay as they are.
        secrets: all of them.
    """

    names: tuple[str, ...] = ()
    secrets: HiddenSecrets = field(default_factory=lambda: Hidden({}))


def configured(
    schema: ConfigSchema,
    row: Stored | None,
    document: HiddenDocument,
    forget: Collection[str],
    replace: bool,
    keys: KeyProvider | None,
    place: tuple[str, str],
) -> Change:
    """Return what a document makes of a row; see :meth:`tierwright.integrations.TenantIntegrations.configure`.

    Args:
        schema: the integration's.
        row: as it is; None where there is none.
        document: settings and secrets together.
        forget: names of secrets to drop.
        replace: whether the stored secrets are dropped unopened.
        keys: needed only where secrets are written.
        place: the tenant and the integration.

    Raises:
        ConfigInvalid, SecretInPlainConfig, InvalidInput, SecretsError: as there.
    """
    settings = taken_apart(schema, document)
    is_enabled = row is not None and row.is_enabled
    if replace:
        missing = refuse_invalid(schema, settings, (), complete=is_enabled)
        return change_of(row, settings, replaced_secrets(row, settings), keys, place, missing)
    stored = () if row is None else names_in(row.sealed)
    forgotten = names_of(forget, {*schema.secrets, *stored}, settings.names)
    kept = kept_names(schema, row, forgotten)
    missing = refuse_invalid(schema, settings, kept, complete=is_enabled)
    return change_of(row, settings, changed_secrets(row, settings, kept, forgotten, keys), keys, place, missing)


def kept_names(schema: ConfigSchema, row: Stored | None, forgotten: Collection[str]) -> frozenset[str]:
    """Return the names of the stored secrets that stay unless they are given anew.

    Those that the schema does not mark any more do not count; they are dropped when the secrets are next written.

    Raises:
        EnvelopeInvalid: what is stored is no envelope.
    """
    stored = () if row is None else names_in(row.sealed)
    return frozenset(stored) & frozenset(schema.secrets) - frozenset(forgotten)


def changed_secrets(
    row: Stored | None, settings: Settings, kept: frozenset[str], forgotten: Collection[str], keys: KeyProvider | None
) -> SecretChange:
    """Return how the secrets change; where none is given or forgotten, nothing is decrypted.

    Raises:
        SecretsNotConfigured, UnknownKeyId, DecryptionFailed, EnvelopeInvalid: the stored ones cannot be opened.
    """
    if row is None or row.sealed is None:
        return SecretChange(settings.names, settings.secret)
    if not settings.names and not set(forgotten) & set(names_in(row.sealed)):
        return SecretChange()
    old = open_secrets(row.sealed, keys, row.binding())
    return shielded(lambda: _difference(dict(old), settings.secret.reveal(), kept))


def replaced_secrets(row: Stored | None, settings: Settings) -> SecretChange:
    """Return the given secrets in place of all that are stored, which are not opened."""
    names = set(settings.names)
    if row is not None and row.sealed is not None:
        names |= set(row.told().secret_names or ("*",))  # what is no envelope has no names
    return SecretChange(tuple(sorted(names)), settings.secret)


def change_of(
    row: Stored | None,
    settings: Settings,
    secrets: SecretChange,
    keys: KeyProvider | None,
    place: tuple[str, str],
    missing: Collection[str],
) -> Change:
    """Return what is to be written, sealed for its row and version.

    Args:
        row: as it is; None where it is made.
        settings: what was given.
        secrets: how they change.
        keys: needed only where secrets are written.
        place: the tenant and the integration.
        missing: the names of required secrets that are not there yet.

    Raises:
        SecretsNotConfigured: there are secrets, and no keys.
    """
    before = {} if row is None else row.config
    config = sorted(
        name
        for name in before.keys() | settings.public.keys()
        if name not in before or name not in settings.public or not same(before[name], settings.public[name])
    )
    version = 0 if row is None else row.config_version
    secret_version = 0 if row is None else row.secret_version
    values: dict[str, Any] = {}
    if config or row is None:
        values["config"] = settings.public
    if secrets.names:
        secret_version += 1
        binding = Binding.of_config(*place, secret_version)
        is_left = bool(len(secrets.secrets.reveal()))
        values["encrypted_config"] = seal_secrets(secrets.secrets, keys, binding) if is_left else None
        values["secret_version"] = secret_version
    if values:
        version += 1
        values["config_version"] = version
    named = [shown((name,)) for name in config]
    return Change(values, named, list(secrets.names), version, secret_version, missing)


def _difference(old: dict[str, Any], given: dict[str, Any], kept: Collection[str]) -> SecretChange:
    stays = {name: value for name, value in old.items() if name in kept}
    new = storable({**stays, **given}, "The secrets cannot be stored")
    names = {name for name in old.keys() | new.keys() if name not in old or name not in new}
    names |= {name for name in old.keys() & new.keys() if not same(old[name], new[name])}
    return SecretChange(tuple(sorted(names)), Hidden(new))
