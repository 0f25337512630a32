"""The input schemas: what they take, what they refuse, and the rows they make."""

from __future__ import annotations

import json
import math
import pickle
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError

from tierwright import tables
from tierwright.errors import InvalidInput
from tierwright.tables.json_rules import MAX_BYTES, MAX_DEPTH, MAX_INTEGER, check_json, check_value_document
from tierwright.types import FeatureType, uuid7

TIER_ID = uuid7()
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
ON = {"enabled": True}

GOOD: dict[str, tuple[type[BaseModel], dict[str, Any]]] = {
    "feature": (
        tables.FeatureInput,
        {
            "feature_key": "models.openai",
            "feature_name": "OpenAI",
            "category": "models",
            "feature_type": "integer",
            "default_value": {"enabled": False, "value": 0},
        },
    ),
    "tier": (tables.TierInput, {"tier_key": "pro", "name": "Pro", "rank": 20}),
    "tier_feature": (
        tables.TierFeatureInput,
        {"license_tier_id": TIER_ID, "feature_key": "models.openai", "feature_value": ON},
    ),
    "license": (tables.TenantLicenseInput, {"tenant_id": 7, "license_tier_id": TIER_ID}),
    "override": (
        tables.TenantFeatureOverrideInput,
        {"tenant_id": "acme", "feature_key": "models.openai", "feature_value": {"enabled": False}},
    ),
    "model": (
        tables.ModelInput,
        {
            "provider": "openai",
            "model_id": "gpt-x/2026",
            "model_name": "GPT X",
            "model_type": "chat",
            "feature_key": "models.openai",
        },
    ),
    "component": (
        tables.ComponentInput,
        {"component_key": "prompt", "component_name": "Prompt", "display_name": "Prompt", "category": "inputs"},
    ),
    "integration": (
        tables.IntegrationInput,
        {
            "integration_key": "slack",
            "integration_name": "Slack",
            "category": "chat",
            "feature_key": "integrations.slack",
        },
    ),
    "config": (tables.TenantIntegrationConfigInput, {"integration_key": "slack", "tenant_id": "acme"}),
    "audit": (tables.AuditInput, {"entity_type": "feature", "entity_id": "models.openai", "action": "created"}),
}


def make(kind: str, **changes: Any) -> Any:
    schema, good = GOOD[kind]
    return schema.model_validate({**good, **changes})


@pytest.mark.parametrize("kind", GOOD)
class TestEverySchema:
    def test_makes_a_row_of_plain_values(self, kind: str) -> None:
        made = make(kind)
        row = made.to_row()
        for name, value in made.row_values().items():
            assert getattr(row, name) == value
            assert type(value) in (str, int, bool, float, dict, list, bytes, UUID, Decimal, date, datetime, type(None))

    def test_covers_the_columns_that_a_writer_may_set(self, kind: str) -> None:
        made = make(kind)
        table = type(made.to_row()).__table__
        own = {"id", "created_at", "updated_at", "deleted_at"}
        health = {"config_version", "secret_version", "last_health_check", "health_status"}
        counters = {"failure_count", "success_count"}
        assert set(made.row_values()) == set(table.c.keys()) - own - health - counters

    def test_forbids_unknown_fields(self, kind: str) -> None:
        with pytest.raises(ValidationError, match="Extra inputs"):
            make(kind, surprise=1)

    def test_cannot_be_changed_after_the_check(self, kind: str) -> None:
        made = make(kind)
        with pytest.raises(ValidationError, match="frozen"):
            setattr(made, next(iter(GOOD[kind][1])), "other")

    def test_every_field_is_required_or_has_a_default(self, kind: str) -> None:
        for name in GOOD[kind][1]:
            without = {key: value for key, value in GOOD[kind][1].items() if key != name}
            if GOOD[kind][0].model_fields[name].is_required():
                with pytest.raises(ValidationError, match="Field required"):
                    GOOD[kind][0].model_validate(without)

    @pytest.mark.parametrize("bad", ["a\x00b", "a\ud800b"])
    def test_no_text_has_a_nul_or_lone_surrogate(self, kind: str, bad: str) -> None:
        for name, value in make(kind).row_values().items():
            if isinstance(value, str):
                with pytest.raises((ValidationError, InvalidInput)):
                    make(kind, **{name: bad})


BAD_KEYS = [
    "models",
    "Models.x",
    "models.",
    ".x",
    "a..b",
    "a b.c",
    "a.b\n",
    "ä.b",
    "a.٣",
    "a." + "b" * 254,
    "",
    5,
    None,
]


@pytest.mark.parametrize("bad", BAD_KEYS)
@pytest.mark.parametrize("kind", ["feature", "tier_feature", "override", "model", "integration"])
def test_feature_keys_have_their_shape(kind: str, bad: Any) -> None:
    with pytest.raises(ValidationError):
        make(kind, feature_key=bad)


@pytest.mark.parametrize(
    ("kind", "field", "bad"),
    [
        ("feature", "feature_name", ""),
        ("feature", "feature_name", " x"),
        ("feature", "feature_name", "x" * 256),
        ("feature", "category", "x" * 101),
        ("feature", "feature_type", "text"),
        ("feature", "is_premium", "yes"),
        ("feature", "is_active", 1),
        ("feature", "display_order", True),
        ("feature", "display_order", 2**31),
        ("feature", "display_order", "1"),
        ("feature", "help_url", "javascript:alert(1)"),
        ("feature", "help_url", "https://a b"),
        ("feature", "depends_on", ["models.openai"]),
        ("feature", "depends_on", ["a.b", "a.b"]),
        ("feature", "depends_on", ["bad"]),
        ("feature", "conflicts_with", "a.b"),
        ("feature", "value_schema", []),
        ("feature", "default_value", ON),
        ("feature", "default_value", {"enabled": True, "value": "1"}),
        ("feature", "default_value", None),
        ("tier", "tier_key", "Pro"),
        ("tier", "base_tier_id", "not-a-uuid"),
        ("tier_feature", "feature_value", {}),
        ("tier_feature", "feature_value", {"enabled": 1}),
        ("tier_feature", "feature_type", "nothing"),
        ("license", "tenant_id", True),
        ("license", "tenant_id", ""),
        ("license", "tenant_id", None),
        ("license", "license_key", ""),
        ("license", "starts_at", datetime(2026, 1, 1)),
        ("license", "starts_at", "2026-01-01"),
        ("license", "expires_at", datetime.max.replace(tzinfo=timezone(timedelta(hours=-1)))),
        ("override", "expires_at", datetime(2026, 1, 1)),
        ("model", "input_price_per_1k", 0.1),
        ("model", "input_price_per_1k", "-1"),
        ("model", "input_price_per_1k", Decimal("NaN")),
        ("model", "input_price_per_1k", True),
        ("model", "output_price_per_1k", "1e-9999"),
        ("model", "max_tokens", -1),
        ("model", "context_window", 1.5),
        ("model", "deprecation_date", "2026-02-30"),
        ("model", "model_type", "Chat bot"),
        ("model", "provider", "x" * 101),
        ("component", "component_key", "a b"),
        ("component", "feature_key", "public"),
        ("integration", "integration_key", "x" * 101),
        ("integration", "config_schema", True),
        ("integration", "required_features", ["x"]),
        ("config", "config", {"a": math.inf}),
        ("config", "encrypted_config", "text"),
        ("config", "encrypted_config", b"x" * (128 * 1024 + 1)),
        ("audit", "entity_type", "user"),
        ("audit", "action", "changed"),
        ("audit", "ip_address", "1.2.3"),
        ("audit", "performed_at", datetime(2026, 1, 1)),
        ("audit", "new_value", {1: 2}),
        ("audit", "old_value", object()),
    ],
)
def test_bad_values_are_refused(kind: str, field: str, bad: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        make(kind, **{field: bad})
    assert caught.value.errors()[0]["loc"] in ((field,), (), (field, 0))


def test_prerequisite_and_conflict_exclude_each_other() -> None:
    with pytest.raises(ValidationError, match=r"prerequisite is a conflict as well: a\.b"):
        make("feature", depends_on=["a.b", "c.d"], conflicts_with=["a.b"])


@pytest.mark.parametrize("kind", ["license", "override"])
@pytest.mark.parametrize(
    ("starts", "expires", "fine"),
    [
        (None, None, True),
        (NOON, None, True),
        (None, NOON, True),
        (NOON, NOON + timedelta(microseconds=1), True),
        (NOON, NOON, False),
        (NOON, NOON - timedelta(1), False),
        # The same moment in two zones: the clocks differ, the window is empty all the same.
        (NOON, NOON.astimezone(timezone(timedelta(hours=9))), False),
    ],
)
def test_windows(kind: str, starts: datetime | None, expires: datetime | None, fine: bool) -> None:
    if fine:
        assert make(kind, starts_at=starts, expires_at=expires).to_row().starts_at == starts
        return
    with pytest.raises(ValidationError, match="starts_at is not before expires_at"):
        make(kind, starts_at=starts, expires_at=expires)


def test_moments_become_utc_and_may_be_iso_text() -> None:
    made = make("license", starts_at="2026-01-01T12:00:00+05:00")
    assert made.starts_at == datetime(2026, 1, 1, 7, tzinfo=UTC)
    assert made.starts_at.tzinfo is UTC


def test_prices_are_exact_and_tenants_canonical() -> None:
    assert str(make("model", input_price_per_1k="0.000150").input_price_per_1k) == "0.00015"
    assert make("license", tenant_id=UUID(int=2**127)).tenant_id == "80000000-0000-0000-0000-000000000000"
    assert make("license").tenant_id == "7"


def test_a_document_is_copied_so_later_changes_do_not_arrive() -> None:
    config = {"channels": ["a"]}
    made = make("config", config=config)
    row = made.to_row()
    config["channels"].append("b")
    made.config["channels"].append("c")
    assert row.config == {"channels": ["a"]}


@pytest.mark.parametrize("kind", ["tier_feature", "override"])
def test_a_known_feature_type_is_used_and_not_stored(kind: str) -> None:
    value = {"enabled": True, "value": 5}
    made = make(kind, feature_value=value, feature_type="integer")
    assert made.to_row().feature_value == value
    assert "feature_type" not in made.row_values()
    with pytest.raises(ValidationError, match="type string cannot have a int"):
        make(kind, feature_value=value, feature_type=FeatureType.STRING)


def test_secrets_do_not_show_in_errors_or_repr() -> None:
    with pytest.raises(ValidationError) as caught:
        make("config", config={"token": "hunter2", "bad": math.nan}, encrypted_config="hunter2")
    assert "hunter2" not in str(caught.value)
    made = make("config", config={"token": "hunter2"}, encrypted_config=b"hunter2")
    assert "hunter2" not in repr(made) + str(made) + repr(made.to_row()) + str(made.to_row())


class TestJson:
    SCALARS = (
        st.none()
        | st.booleans()
        | st.integers(-MAX_INTEGER, MAX_INTEGER)
        | st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=20)
        | st.floats(-1e15, 1e15, allow_nan=False)
    )

    @given(
        st.recursive(
            SCALARS,
            lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=5),
                    inner,
                    max_size=4,
                )
            ),
        )
    )
    def test_what_is_taken_survives_json(self, value: Any) -> None:
        copy = check_json(value)
        assert copy == value
        assert json.loads(json.dumps(copy)) == value

    @pytest.mark.parametrize(
        "bad",
        [
            math.nan,
            math.inf,
            -math.inf,
            MAX_INTEGER + 1,
            -MAX_INTEGER - 1,
            1e300,
            (1,),
            {1: 2},
            {None: 1},
            b"x",
            Decimal(1),
            NOON,
            {"a": {"b": ["\x00"]}},
            {"\x00": 1},
            ["\udfff"],
            {"\ud800": 1},
            {"a": {1, 2}},
        ],
    )
    def test_what_a_column_cannot_keep_is_refused_at_any_depth(self, bad: Any) -> None:
        for value in (bad, [bad], {"deep": [{"er": bad}]}):
            with pytest.raises(InvalidInput) as caught:
                check_json(value)
            str(caught.value).encode()  # an error about a lone surrogate must not contain it
            assert pickle.loads(pickle.dumps(caught.value)).message == caught.value.message

    def test_depth(self) -> None:
        value: Any = 1
        for _ in range(MAX_DEPTH):
            value = [value]
        assert check_json(value) == value
        with pytest.raises(InvalidInput, match="deeper than 32"):
            check_json([value])
        endless: list[Any] = []
        endless.append(endless)
        with pytest.raises(InvalidInput, match="deeper than 32"):
            check_json(endless)

    def test_size_is_counted_in_bytes(self) -> None:
        assert check_json("x" * (MAX_BYTES - 2))
        for value in ("x" * (MAX_BYTES - 1), "ü" * (MAX_BYTES // 2)):
            with pytest.raises(InvalidInput, match="more than 65536"):
                check_json(value)


class TestValueDocuments:
    @pytest.mark.parametrize(
        ("feature_type", "document"),
        [
            ("boolean", {"enabled": True, "value": False}),
            ("integer", {"enabled": True, "value": -3}),
            ("integer", {"enabled": True, "unlimited": True}),
            ("number", {"enabled": False, "value": 3}),
            ("number", {"enabled": False, "value": 0.5}),
            ("number", {"enabled": True, "unlimited": True}),
            ("string", {"enabled": True, "value": ""}),
            ("json", {"enabled": True, "value": {"a": [None]}}),
            ("json", {"enabled": True, "value": None}),
        ],
    )
    def test_good(self, feature_type: str, document: dict[str, Any]) -> None:
        assert check_value_document(document, FeatureType(feature_type), complete=True) == document
        assert check_value_document({"enabled": False}, FeatureType(feature_type)) == {"enabled": False}

    @pytest.mark.parametrize(
        ("feature_type", "document"),
        [
            ("boolean", {"enabled": True, "value": 1}),
            ("boolean", {"enabled": True, "unlimited": True}),
            ("integer", {"enabled": True, "value": True}),
            ("integer", {"enabled": True, "value": 1.0}),
            ("integer", {"enabled": True, "value": None}),
            ("integer", {"enabled": True, "value": 1, "unlimited": True}),
            ("integer", {"enabled": True, "unlimited": False}),
            ("number", {"enabled": True, "value": False}),
            ("number", {"enabled": True, "value": "1"}),
            ("string", {"enabled": True, "value": 1}),
            ("string", {"enabled": True, "unlimited": True}),
            ("json", {"enabled": True, "unlimited": True}),
            ("json", {"enabled": True, "value": math.inf}),
            ("boolean", {"value": True}),
            ("boolean", {"enabled": None, "value": True}),
            ("boolean", {"enabled": True, "value": True, "limit": 1}),
            ("boolean", []),
            ("boolean", None),
        ],
    )
    def test_bad(self, feature_type: str, document: Any) -> None:
        with pytest.raises(InvalidInput):
            check_value_document(document, FeatureType(feature_type))

    def test_the_default_needs_a_value(self) -> None:
        with pytest.raises(InvalidInput, match="needs a value"):
            check_value_document({"enabled": True}, FeatureType.BOOLEAN, complete=True)
