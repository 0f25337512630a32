"""Decisions as OpenTelemetry events, and the mapping to OpenFeature's words."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs import export as logs_export
from opentelemetry.sdk._logs.export import SimpleLogRecordProcessor
from opentelemetry.sdk.trace import TracerProvider
from sqlalchemy.engine import Engine
from sqlalchemy.orm import Session

from tierwright import AsyncEntitlements, Entitlements, Reason, Source
from tierwright.contrib.openfeature_mapping import ERROR_CODES, REASONS, error_code_of, reason_of, variant_of
from tierwright.contrib.otel import EVENT_NAME, decision_hook, on_decision
from tierwright.resolution.decision import Decision, unavailable
from tierwright.testing import MemoryStore, override_features, seed

# https://openfeature.dev/specification/types
OPENFEATURE_REASONS = {
    *("STATIC", "DEFAULT", "TARGETING_MATCH", "SPLIT", "CACHED", "DISABLED", "UNKNOWN", "STALE", "ERROR"),
}
OPENFEATURE_CODES = {
    *("PROVIDER_NOT_READY", "FLAG_NOT_FOUND", "PARSE_ERROR", "TYPE_MISMATCH", "TARGETING_KEY_MISSING"),
    *("INVALID_CONTEXT", "PROVIDER_FATAL", "GENERAL"),
}
DOCUMENT: dict[str, Any] = {
    "features": {
        "f.on": True,
        "f.json": {"feature_type": "json", "default_value": {"enabled": True, "value": {"a": [1]}}},
        "f.limit": {"feature_type": "integer", "default_value": 5},
        "f.open": {"feature_type": "integer", "default_value": {"enabled": True, "unlimited": True}},
        "f.gone": {"default_value": True, "is_active": False},
        "f.a": {"default_value": True, "conflicts_with": ["f.b"]},
        "f.b": {"default_value": True},
    },
    "tiers": {"pro": {"features": {"f.on": True}}},
    "tenants": {"acme": {"licenses": ["pro"]}},
}


class Recorder:
    """A provider that keeps what is emitted."""

    def __init__(self) -> None:
        exporter = getattr(logs_export, "InMemoryLogRecordExporter", None) or logs_export.InMemoryLogExporter
        self.exporter = exporter()
        self.provider = LoggerProvider(shutdown_on_exit=False)
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self.exporter))

    @property
    def records(self) -> list[Any]:
        return [each.log_record for each in self.exporter.get_finished_logs()]

    @property
    def attributes(self) -> list[dict[str, Any]]:
        return [dict(each.attributes) for each in self.records]


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


def test_the_event_follows_the_convention(recorder: Recorder) -> None:
    entitlements = Entitlements(store=MemoryStore(DOCUMENT), on_decision=decision_hook(recorder.provider))
    assert entitlements.check("acme", "f.on")
    (record,) = recorder.records
    assert record.event_name == EVENT_NAME == "feature_flag.evaluation"
    assert dict(record.attributes) == {
        "feature_flag.key": "f.on",
        "feature_flag.provider.name": "tierwright",
        "feature_flag.context.id": "acme",
        "feature_flag.result.variant": "on",
        "feature_flag.result.reason": "targeting_match",
        "tierwright.reason": "GRANTED",
        "tierwright.source": "tier",
        "tierwright.tier_key": "pro",
    }


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("f.limit", {"variant": "on", "reason": "default", "value": 5}),
        ("f.open", {"variant": "unlimited", "reason": "default", "value": "unlimited"}),
        ("f.json", {"variant": "on", "reason": "default", "value": '{"a": [1]}'}),
        ("f.gone", {"variant": "off", "reason": "disabled", "value": False}),
        ("f.a", {"variant": "off", "reason": "targeting_match", "value": False}),
        ("f.ghost", {"variant": "off", "reason": "error", "value": False}),
    ],
)
def test_values_only_on_request(recorder: Recorder, key: str, expected: dict[str, Any]) -> None:
    store = MemoryStore(DOCUMENT)
    Entitlements(store=store, on_decision=decision_hook(recorder.provider)).evaluate("x", key)
    Entitlements(store=store, on_decision=decision_hook(recorder.provider, include_value=True)).evaluate("x", key)
    without, with_value = recorder.attributes
    assert "feature_flag.result.value" not in without
    assert {name: with_value[f"feature_flag.result.{name}"] for name in expected} == expected


def test_errors_carry_a_type(recorder: Recorder) -> None:
    hook = decision_hook(recorder.provider, include_tenant=False)
    entitlements = Entitlements(store=MemoryStore(DOCUMENT), on_decision=hook)
    entitlements.check("acme", "f.ghost")
    with override_features({"f.on": Reason.UNAVAILABLE}):
        entitlements.check("acme", "f.on")
    entitlements.check("acme", "f.a")
    not_found, down, conflict = recorder.attributes
    assert not_found["error.type"] == "flag_not_found"
    assert down["error.type"] == "general"
    assert "database" in down["error.message"]
    assert "error.type" not in conflict
    assert conflict["tierwright.blocked_by"] in (["f.b"], ("f.b",))
    assert "feature_flag.context.id" not in down


def test_one_event_per_question_from_every_database(migrated_engine: Engine, recorder: Recorder) -> None:
    with Session(migrated_engine) as session:
        seed(session, DOCUMENT)
        entitlements = Entitlements(session, on_decision=decision_hook(recorder.provider))
        entitlements.check("acme", "f.on")
        entitlements.value("acme", "f.limit")
        entitlements.require("acme", "f.on")
        entitlements.explain("acme", "f.a")
    assert [each["feature_flag.key"] for each in recorder.attributes] == ["f.on", "f.limit", "f.on", "f.a"]


def test_events_belong_to_the_current_span(recorder: Recorder) -> None:
    import asyncio

    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    entitlements = AsyncEntitlements(store=MemoryStore(DOCUMENT), on_decision=decision_hook(recorder.provider))

    async def run() -> int:
        with tracer.start_as_current_span("request") as span:
            await entitlements.check("acme", "f.on")
            return span.get_span_context().trace_id

    trace_id = asyncio.run(run())
    (record,) = recorder.records
    assert record.trace_id == trace_id
    assert record.observed_timestamp or record.timestamp


def test_without_a_provider_it_does_nothing() -> None:
    assert Entitlements(store=MemoryStore(DOCUMENT), on_decision=on_decision).check("acme", "f.on")


def test_without_opentelemetry_the_remedy_is_named() -> None:
    code = "import sys; sys.modules['opentelemetry._logs'] = None; import tierwright.contrib.otel"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'tierwright[otel]'" in done.stderr


# --- the mapping -----------------------------------------------------------------------------------------------------


def test_the_mapping_is_total_and_speaks_openfeature() -> None:
    assert set(REASONS) == {(reason, source) for reason in Reason for source in Source}
    assert set(REASONS.values()) <= OPENFEATURE_REASONS
    assert set(ERROR_CODES) == set(Reason)
    assert {code for code in ERROR_CODES.values() if code is not None} <= OPENFEATURE_CODES


@pytest.mark.parametrize("reason", Reason)
@pytest.mark.parametrize("source", Source)
def test_an_error_has_a_code_and_nothing_else_has(reason: Reason, source: Source) -> None:
    decision = Decision("f.a", reason is Reason.GRANTED, None, False, reason, source)
    assert (reason_of(decision) == "ERROR") == (error_code_of(decision) is not None)
    assert variant_of(decision) == ("on" if reason is Reason.GRANTED else "off")


def test_a_decision_of_an_unreachable_database() -> None:
    assert (reason_of(unavailable("f.a")), error_code_of(unavailable("f.a"))) == ("ERROR", "GENERAL")
