"""What others would be asked: the flag libraries that are installed, each set up with the same truth.

Whatever can be prepared before the question (contexts, requests) is, outside of the timed loop; that favours them.
Those that need a web framework or a policy engine are in :mod:`benchmarks.peers_policies`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from benchmarks.truth import Truth

#: Where :func:`versions` looks.
DISTRIBUTIONS = (
    "openfeature-sdk",
    "UnleashClient",
    "growthbook",
    "flagsmith",
    "launchdarkly-server-sdk",
    "casbin",
    "django-waffle",
)


@dataclass(frozen=True)
class Loaded:
    """A peer that is ready to be asked.

    Attributes:
        name: in tables.
        prepare: makes the two arguments of ``check`` from a tenant and a feature.
        check: what is timed.
        check_all: returns the answers about all features of a tenant by feature, or None.
        calls, calls_all: how many of each fill a round.
        close: ends its threads.
    """

    name: str
    prepare: Callable[[str, str], tuple[Any, Any]]
    check: Callable[[Any, Any], Any]
    check_all: Callable[[str], dict[str, Any]] | None = None
    calls: int = 20_000
    calls_all: int = 20
    close: Callable[[], object] = field(default=lambda: None)


def load(truth: Truth, folder: str) -> tuple[list[Loaded], dict[str, str]]:
    """Return the peers that are installed, and by name why the others are skipped."""
    from benchmarks import peers_policies

    logging.getLogger().setLevel(logging.ERROR)
    builders = {**BUILDERS, **peers_policies.BUILDERS}
    found, skipped = [], {}
    for name, build in builders.items():
        try:
            found.append(build(truth, folder))
        except ImportError as error:
            skipped[name] = f"not installed ({error.name})"
    return found, skipped


def versions() -> dict[str, str]:
    """Return the versions of the peers that are installed."""
    found = {}
    for name in DISTRIBUTIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def _openfeature(truth: Truth, _folder: str) -> Loaded:
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.flag_evaluation import FlagResolutionDetails, Reason
    from openfeature.provider.in_memory_provider import InMemoryFlag, InMemoryProvider

    def flag(key: str) -> Any:
        tiers = frozenset(truth.tiers_with[key])

        def decide(_flag: Any, context: Any) -> Any:
            on = context.attributes["tier"] in tiers
            return FlagResolutionDetails(value=on, variant="on" if on else "off", reason=Reason.TARGETING_MATCH)

        return InMemoryFlag("off", {"on": True, "off": False}, context_evaluator=decide)

    api.set_provider(InMemoryProvider({key: flag(key) for key in truth.features}))
    get = api.get_client().get_boolean_value
    contexts = {tenant: EvaluationContext(tenant, {"tier": truth.tier_of[tenant]}) for tenant in truth.tenants}

    def check(context: Any, key: str) -> Any:
        return get(key, False, context)

    def check_all(tenant: str) -> dict[str, bool]:
        context = contexts[tenant]
        return {key: get(key, False, context) for key in truth.features}

    return Loaded("OpenFeature SDK, in-memory provider", lambda t, f: (contexts[t], f), check, check_all)


def _openfeature_over_dict(truth: Truth, _folder: str) -> Loaded:
    """What the client itself costs: the provider behind it looks twice into dictionaries."""
    from openfeature import api
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.flag_evaluation import FlagResolutionDetails
    from openfeature.provider.in_memory_provider import InMemoryProvider

    of = {tenant: truth.of(tenant) for tenant in truth.tenants}

    class OverDict(InMemoryProvider):
        def resolve_boolean_details(self, flag_key: str, default_value: bool, evaluation_context: Any = None) -> Any:
            return FlagResolutionDetails(of[evaluation_context.targeting_key].get(flag_key, default_value))

    api.set_provider(OverDict({}), "dict")
    get = api.get_client("dict").get_boolean_value
    contexts = {tenant: EvaluationContext(tenant) for tenant in truth.tenants}

    def check(context: Any, key: str) -> Any:
        return get(key, False, context)

    return Loaded("OpenFeature SDK over a dict", lambda t, f: (contexts[t], f), check)


def _unleash(truth: Truth, folder: str) -> Loaded:
    from UnleashClient import UnleashClient
    from UnleashClient.cache import FileCache

    def toggle(key: str) -> dict[str, Any]:
        on_tier = {"contextName": "tier", "operator": "IN", "values": truth.tiers_with[key], "inverted": False}
        strategy = {"name": "default", "parameters": {}, "constraints": [on_tier]}
        shared = {"type": "release", "enabled": True, "project": "default", "stale": False, "variants": []}
        return {"name": key, "strategies": [strategy], **shared}

    cache = FileCache("tierwright-benchmarks", directory=folder)
    cache.bootstrap_from_dict({"version": 2, "features": [toggle(key) for key in truth.features]})
    client = UnleashClient(
        "http://127.0.0.1:9/api",
        "tierwright-benchmarks",
        cache=cache,
        disable_metrics=True,
        disable_registration=True,
        refresh_interval=86_400,
    )
    client.initialize_client(fetch_toggles=False)
    is_enabled = client.is_enabled
    contexts = {tenant: {"userId": tenant, "properties": {"tier": truth.tier_of[tenant]}} for tenant in truth.tenants}

    def check_all(tenant: str) -> dict[str, bool]:
        context = contexts[tenant]
        return {key: is_enabled(key, context) for key in truth.features}

    return Loaded(
        "UnleashClient", lambda t, f: (f, contexts[t]), is_enabled, check_all, 10_000, 10, close=client.destroy
    )


def _growthbook(truth: Truth, _folder: str) -> Loaded:
    from growthbook import GrowthBook

    def feature(key: str) -> dict[str, Any]:
        return {
            "defaultValue": False,
            "rules": [{"condition": {"tier": {"$in": truth.tiers_with[key]}}, "force": True}],
        }

    client = GrowthBook(attributes={}, features={key: feature(key) for key in truth.features})
    attributes = {tenant: {"id": tenant, "tier": truth.tier_of[tenant]} for tenant in truth.tenants}

    def check(of_tenant: dict[str, str], key: str) -> Any:
        client.set_attributes(of_tenant)
        return client.is_on(key)

    def check_all(tenant: str) -> dict[str, bool]:
        client.set_attributes(attributes[tenant])
        return {key: client.is_on(key) for key in truth.features}

    return Loaded("GrowthBook SDK", lambda t, f: (attributes[t], f), check, check_all)


def _flagsmith(truth: Truth, folder: str) -> Loaded:
    from flagsmith import Flagsmith
    from flagsmith.offline_handlers import LocalFileHandler

    path = Path(folder) / "flagsmith.json"
    path.write_text(json.dumps(_flagsmith_document(truth)), "utf-8")
    client = Flagsmith(offline_mode=True, offline_handler=LocalFileHandler(str(path)))
    traits = {tenant: (tenant, {"tier": truth.tier_of[tenant]}) for tenant in truth.tenants}

    def check(identity: Any, key: str) -> Any:
        return client.get_identity_flags(*identity).is_feature_enabled(key)

    def check_all(tenant: str) -> dict[str, bool]:
        return {flag.feature_name: flag.enabled for flag in client.get_identity_flags(*traits[tenant]).all_flags()}

    return Loaded("Flagsmith SDK, local evaluation", lambda t, f: (traits[t], f), check, check_all, 1000, 5)


def _flagsmith_document(truth: Truth) -> dict[str, Any]:
    ids = {key: number + 1 for number, key in enumerate(truth.features)}

    def state(key: str, enabled: bool, **more: Any) -> dict[str, Any]:
        feature = {"id": ids[key], "name": key, "type": "STANDARD"}
        values = {"feature_state_value": None, "multivariate_feature_state_values": []}
        return {"feature": feature, "enabled": enabled, **values, **more}

    def segment(number: int, tier: str) -> dict[str, Any]:
        condition = {"property_": "tier", "operator": "EQUAL", "value": tier}
        rule = {"type": "ALL", "conditions": [], "rules": [{"type": "ANY", "rules": [], "conditions": [condition]}]}
        states = [
            state(key, True, django_id=100_000 + 1000 * number + ids[key], feature_segment={"priority": 0})
            for key in truth.features
            if truth.granted[tier][key]
        ]
        return {"id": number + 1, "name": tier, "rules": [rule], "feature_states": states}

    segments = [segment(number, tier) for number, tier in enumerate(truth.tiers)]
    return {
        "id": 1,
        "api_key": "ser.x",
        "name": "benchmark",
        "updated_at": "2026-01-01T00:00:00+00:00",
        "feature_states": [state(key, False, django_id=ids[key]) for key in truth.features],
        "identity_overrides": [],
        "project": {"id": 1, "name": "p", "segments": segments},
    }


def _launchdarkly(truth: Truth, _folder: str) -> Loaded:
    from ldclient import Config, Context, LDClient
    from ldclient.integrations.test_data import TestData

    source = TestData.data_source()
    for key in truth.features:
        flag = source.flag(key).boolean_flag().fallthrough_variation(False)
        source.update(flag.if_match("tier", *truth.tiers_with[key]).then_return(True))
    config = Config("sdk-x", update_processor_class=source, send_events=False, diagnostic_opt_out=True)
    client = LDClient(config, start_wait=5)
    variation = client.variation
    contexts = {t: Context.builder(t).set("tier", truth.tier_of[t]).build() for t in truth.tenants}

    def check(context: Any, key: str) -> Any:
        return variation(key, context, False)

    def check_all(tenant: str) -> dict[str, Any]:
        return dict(client.all_flags_state(contexts[tenant]).to_values_map())

    return Loaded(
        "LaunchDarkly SDK, test data", lambda t, f: (contexts[t], f), check, check_all, 10_000, 10, close=client.close
    )


Builder = Callable[[Truth, str], Loaded]
BUILDERS: dict[str, Builder] = {
    "OpenFeature SDK, in-memory provider": _openfeature,
    "OpenFeature SDK over a dict": _openfeature_over_dict,
    "UnleashClient": _unleash,
    "GrowthBook SDK": _growthbook,
    "Flagsmith SDK, local evaluation": _flagsmith,
    "LaunchDarkly SDK, test data": _launchdarkly,
}
