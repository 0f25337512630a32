"""Writes of what features gate: AI models, components and integrations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwright.config_schema import check_config_schema
from tierwright.services.audit import Journal
from tierwright.services.registry.inputs import InputT
from tierwright.services.registry.keyed import Keyed, RowT
from tierwright.services.registry.results import WriteResult
from tierwright.services.registry.rows import features_by_key
from tierwright.tables import (
    ComponentInput,
    ComponentRegistry,
    IntegrationInput,
    IntegrationRegistry,
    ModelInput,
    ModelRegistry,
)
from tierwright.types import AuditEntity


class _Gated(Keyed[RowT, InputT]):
    """A registry whose entries name features."""

    def _check(self, before: Mapping[str, Any] | None, given: InputT, changed: list[str]) -> tuple[str, ...]:
        values = given.row_values()
        named = set(values.get("required_features", ())) if "required_features" in changed else set()
        if "feature_key" in changed and values["feature_key"] is not None:
            named.add(values["feature_key"])
        known = set(before.get("required_features", ())) if before is not None else set()
        features_by_key(self._session, named - known)
        return ()


class _ByOneKey(_Gated[RowT, InputT]):
    """A registry whose entries have one key."""

    def create(
        self, entry: InputT | Mapping[str, Any], *, actor: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Add an entry.

        Args:
            entry: the input schema of the registry, or a mapping with its fields.
            actor: who writes.
            reason: why.

        Raises:
            AlreadyExists: there is an entry with this key.
            ReferenceUnknown: there is no such feature.
            DependencyMissing: an integration has a ``config_schema``, and the package jsonschema is not installed.
        """
        return self._create(entry, Journal.open(self._session, actor, reason))

    def change(
        self, key: str, /, *, actor: str | None = None, reason: str | None = None, **changes: Any
    ) -> WriteResult:
        """Change fields of an entry, except its key.

        Raises:
            NotFound: there is no such entry.
            ReferenceUnknown: there is no such feature.
            DependencyMissing: as for create.
        """
        return self._change({next(iter(self.key)): key}, changes, Journal.open(self._session, actor, reason))

    def retire(self, key: str, *, actor: str | None = None, reason: str | None = None) -> WriteResult:
        """Take an entry away from everybody.

        Raises:
            NotFound: there is no such entry.
        """
        return self.change(key, actor=actor, reason=reason, is_active=False)

    def restore(self, key: str, *, actor: str | None = None, reason: str | None = None) -> WriteResult:
        """Offer an entry again.

        Raises:
            NotFound: there is no such entry.
        """
        return self.change(key, actor=actor, reason=reason, is_active=True)


class Components(_ByOneKey[ComponentRegistry, ComponentInput]):
    """The components of the host."""

    noun = "component"
    entity = AuditEntity.COMPONENT
    row = ComponentRegistry
    schema = ComponentInput
    key = {"component_key": "component key"}  # noqa: RUF012  declared as ClassVar in the base


class Integrations(_ByOneKey[IntegrationRegistry, IntegrationInput]):
    """The integrations that tenants can configure."""

    noun = "integration"
    entity = AuditEntity.INTEGRATION
    row = IntegrationRegistry
    schema = IntegrationInput
    key = {"integration_key": "integration key"}  # noqa: RUF012  declared as ClassVar in the base

    def _checked_input(self, given: Any, journal: Journal) -> IntegrationInput:
        checked = super()._checked_input(given, journal)
        check_config_schema(checked.config_schema)
        return checked

    def _checked_changes(self, key: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        checked = super()._checked_changes(key, changes)
        check_config_schema(checked.get("config_schema") or {})
        return checked


class Models(_Gated[ModelRegistry, ModelInput]):
    """The AI models; a model is named by its provider and its id there."""

    noun = "model"
    entity = AuditEntity.MODEL
    row = ModelRegistry
    schema = ModelInput
    key = {"provider": "provider", "model_id": "model id"}  # noqa: RUF012  declared as ClassVar in the base

    def create(
        self, model: ModelInput | Mapping[str, Any], *, actor: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Add a model.

        Raises:
            AlreadyExists: the provider has a model with this id.
            ReferenceUnknown: there is no such feature.
        """
        return self._create(model, Journal.open(self._session, actor, reason))

    def change(
        self, provider: str, model_id: str, /, *, actor: str | None = None, reason: str | None = None, **changes: Any
    ) -> WriteResult:
        """Change fields of a model, except its provider and id.

        Raises:
            NotFound: there is no such model.
            ReferenceUnknown: there is no such feature.
        """
        key = {"provider": provider, "model_id": model_id}
        return self._change(key, changes, Journal.open(self._session, actor, reason))

    def retire(
        self, provider: str, model_id: str, *, actor: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Take a model away from everybody.

        Raises:
            NotFound: there is no such model.
        """
        return self.change(provider, model_id, actor=actor, reason=reason, is_active=False)

    def restore(
        self, provider: str, model_id: str, *, actor: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Offer a model again.

        Raises:
            NotFound: there is no such model.
        """
        return self.change(provider, model_id, actor=actor, reason=reason, is_active=True)
