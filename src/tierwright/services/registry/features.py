"""Writes of the feature registry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tierwright.errors import WriteRefused
from tierwright.resolution.facts import Feature, Grant
from tierwright.resolution.values import check_document, check_schema
from tierwright.services import near_keys
from tierwright.services.audit import Journal
from tierwright.services.registry.catalogue import Catalogue
from tierwright.services.registry.held_values import refuse_unfit_values
from tierwright.services.registry.inputs import key_of
from tierwright.services.registry.keyed import Keyed
from tierwright.services.registry.results import WriteResult
from tierwright.services.registry.rows import CHECK, not_found, refuse_unknown
from tierwright.services.registry.rules import cycle_through, dependents_of, named, refuse_cycle, refuse_new_breaks
from tierwright.services.session_state import connection_of
from tierwright.tables import FeatureInput, FeatureRegistry
from tierwright.types import AuditEntity

#: What a change of them can break in tiers.
_LINKS = {"depends_on", "conflicts_with", "default_value", "is_premium"}


class Features(Keyed[FeatureRegistry, FeatureInput]):
    """The features: what can be granted."""

    noun = "feature"
    entity = AuditEntity.FEATURE
    row = FeatureRegistry
    schema = FeatureInput
    key = {"feature_key": "feature key"}  # noqa: RUF012  declared as ClassVar in the base

    def create(
        self, feature: FeatureInput | Mapping[str, Any], *, actor: str | None = None, reason: str | None = None
    ) -> WriteResult:
        """Add a feature.

        Args:
            feature: the feature; a mapping has the fields of :class:`~tierwright.tables.FeatureInput`.
            actor: who writes; also the feature's ``created_by``, unless it has one.
            reason: why.

        Raises:
            AlreadyExists: there is a feature with this key.
            ReferenceUnknown: a prerequisite or conflict does not exist.
            CycleRefused: it would need itself.
            PrerequisiteBroken, ConflictRefused: its default would break a tier.
            DependencyMissing: it has a ``value_schema``, and the package jsonschema is not installed.
        """
        return self._create(feature, Journal.open(self._session, actor, reason))

    def change(
        self, feature_key: str, /, *, actor: str | None = None, reason: str | None = None, **changes: Any
    ) -> WriteResult:
        """Change fields of a feature.

        Args:
            feature_key: the feature.
            actor: who writes.
            reason: why.
            **changes: new values of fields of :class:`~tierwright.tables.FeatureInput`, except the key.

        Raises:
            NotFound: there is no such feature.
            StillInUse: a tier or tenant holds a value that the new type or schema does not allow.
            ReferenceUnknown, CycleRefused, PrerequisiteBroken, ConflictRefused, DependencyMissing: as for create.
        """
        return self._change({"feature_key": feature_key}, changes, Journal.open(self._session, actor, reason))

    def retire(self, feature_key: str, *, actor: str | None = None, reason: str | None = None) -> WriteResult:
        """Switch a feature off for everybody, at once: the kill switch. What tiers and tenants hold stays.

        Returns:
            With a warning that names the features which go off with it.

        Raises:
            NotFound: there is no such feature.
        """
        return self.change(feature_key, actor=actor, reason=reason, is_active=False)

    def restore(self, feature_key: str, *, actor: str | None = None, reason: str | None = None) -> WriteResult:
        """Switch a feature on again, for those to whom it is granted.

        Raises:
            NotFound: there is no such feature.
        """
        return self.change(feature_key, actor=actor, reason=reason, is_active=True)

    def _checked_input(self, given: Any, journal: Journal) -> FeatureInput:
        if isinstance(given, Mapping):
            _refuse_self(key_of("feature key", given.get("feature_key")), given.get("depends_on"))
        checked = super()._checked_input(given, journal)
        if checked.created_by is None:
            checked = checked.model_copy(update={"created_by": journal.context.actor})
        _check_values(checked)
        return checked

    def _checked_changes(self, key: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        _refuse_self(key["feature_key"], changes.get("depends_on"))
        checked = super()._checked_changes(key, changes)
        if checked.get("value_schema") is not None:
            check_schema(checked["value_schema"])
        return checked

    def _not_found(self, key: Mapping[str, Any]) -> WriteRefused:
        feature_key = key["feature_key"]
        remedy = near_keys.asked(connection_of(self._session), CHECK, [feature_key])
        return not_found(self.noun, feature_key, remedy)

    def _check(self, before: Mapping[str, Any] | None, given: FeatureInput, changed: list[str]) -> tuple[str, ...]:
        if before is not None and {"feature_type", "value_schema", "default_value"} & set(changed):
            _check_values(given)
        if before is not None and {"feature_type", "value_schema"} & set(changed):
            refuse_unfit_values(self._session, given)
        retired = before is not None and "is_active" in changed and not given.is_active
        linked = before is not None or given.depends_on or given.conflicts_with
        if not retired and not (linked and _LINKS & set(changed)):
            return ()
        catalogue = Catalogue.read(self._session)
        self._check_links(catalogue, given)
        return _dependents_warning(given.feature_key, catalogue) if retired else ()

    def _check_links(self, catalogue: Catalogue, given: FeatureInput) -> None:
        after = catalogue.with_feature(_fact(given))
        old = catalogue.features.get(given.feature_key)
        known = {*after.features, *((*old.depends_on, *old.conflicts_with) if old else ())}
        refuse_unknown(sorted({*given.depends_on, *given.conflicts_with} - known), catalogue.features)
        if old is None or set(given.depends_on) - set(old.depends_on):
            edges = {feature.key: feature.depends_on for feature in after.features.values()}
            refuse_cycle("Prerequisites", cycle_through(given.feature_key, edges))
        keys = catalogue.linked([given.feature_key]) | after.linked([given.feature_key])
        if keys:
            before = catalogue.with_grants(self._session, keys)
            refuse_new_breaks(before, before.with_feature(_fact(given)), keys)


def _check_values(given: FeatureInput) -> None:
    """Refuse a schema that cannot be used, and a default that does not fit it."""
    if given.value_schema is not None:
        check_schema(given.value_schema)
        check_document(given.default_value, given.value_schema, "default_value")


def _refuse_self(feature_key: str, depends_on: Any) -> None:
    # The input schema refuses it too, but not as the circle that it is.
    if isinstance(depends_on, list | tuple) and feature_key in depends_on:
        refuse_cycle("Prerequisites", (feature_key, feature_key))


def _fact(given: FeatureInput) -> Feature:
    return Feature(
        given.feature_key,
        Grant.from_document(given.default_value),
        given.is_premium,
        given.is_active,
        tuple(given.depends_on),
        tuple(given.conflicts_with),
    )


def _dependents_warning(feature_key: str, catalogue: Catalogue) -> tuple[str, ...]:
    dependents = dependents_of(feature_key, catalogue.features.values())
    return (f"These go off with it, because they need {feature_key}: {named(dependents)}.",) if dependents else ()
