"""LiteLLM's price list: everything it says arrives exactly, nothing is guessed, and what people set by hand stays."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import date
from decimal import ROUND_DOWN, Context, Decimal, localcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from tierwright.catalog import importers
from tierwright.catalog.document import CatalogDocument, FeatureEntry, ModelEntry
from tierwright.catalog.importers import ImportResult, find, left_alone, merge
from tierwright.catalog.importers.fields import feature_keys, per_1k
from tierwright.catalog.importers.litellm import LiteLLM
from tierwright.errors import InvalidInput

LIST = Path(__file__).parents[2] / "examples" / "demo" / "data" / "litellm_models.json"
TODAY = date(2026, 6, 1)
CHAT = {"litellm_provider": "x", "mode": "chat"}


def read(entries: Mapping[str, Any] | str, today: date = TODAY) -> ImportResult:
    """Import a list that is given as entries, or as JSON text."""
    text = entries if isinstance(entries, str) else json.dumps(entries)
    return LiteLLM(today).read(text.encode())


def model(entry: Mapping[str, Any]) -> ModelEntry:
    """Return what becomes of one entry."""
    return read({"m": {**CHAT, **entry}}).models["x"]["m"]


def why(entry: Any) -> str:
    """Return why an entry is not imported, though the one beside it is."""
    found = read({"good": CHAT, "bad": entry})
    assert list(found.models["x"]) == ["good"]
    ((key, reason),) = found.reported
    assert key == "bad"
    return reason


def test_every_model_of_the_real_list_arrives_with_exact_prices() -> None:
    entries = json.loads(LIST.read_text("utf-8"), parse_float=Decimal)
    with localcontext(Context(prec=3, rounding=ROUND_DOWN)):  # a hostile context must change nothing
        found = LiteLLM(TODAY).read(LIST)
    models = {model_id: entry for listed in found.models.values() for model_id, entry in listed.items()}
    assert len(models) == 4551
    assert [key for key, _ in found.reported] == ["fallback_generalizations"]
    assert models.keys() == entries.keys() - {"fallback_generalizations"}
    for model_id, entry in models.items():
        listed = entries[model_id]
        for price, per_token in (
            (entry.input_price_per_1k, listed.get("input_cost_per_token")),
            (entry.output_price_per_1k, listed.get("output_cost_per_token")),
        ):
            assert (None if price is None else Fraction(price)) == (
                None if per_token is None else Fraction(per_token) * 1000
            )
        assert entry.deprecation_date == (date.fromisoformat(day) if (day := listed.get("deprecation_date")) else None)
    assert sum(entry.model_type == "unknown" for entry in models.values()) == 10
    assert {f"models.{provider}" for provider in found.models} == found.features.keys()
    assert len(found.features) == 152


@pytest.mark.parametrize(
    ("per_token", "expected"),
    [
        ("0", "0"),
        ("2", "2000"),
        ("1e-24", "0.000000000000000000001"),
        ("0.123456789012345678901234567890123456789", "123.456789012345678901234567890123456789"),
        ("3.0000000000000004e-07", "0.00030000000000000004"),
    ],
)
def test_prices_are_those_of_the_text(per_token: str, expected: str) -> None:
    assert format(per_1k(Decimal(per_token)), "f") == expected
    found = read(f'{{"m": {{"litellm_provider": "x", "input_cost_per_token": {per_token}}}}}')
    assert f"{found.models['x']['m'].input_price_per_1k:f}" == expected


def test_what_the_list_says_of_a_model_arrives() -> None:
    found = read(
        {
            "x/some-model": {
                **CHAT,
                "max_input_tokens": 10,
                "max_output_tokens": 5,
                "supports_function_calling": True,
                "supports_vision": True,
                "supports_native_streaming": True,
                "deprecation_date": "2026-06-01",
            },
            "bare": {"litellm_provider": "x", "supports_vision": None},
        }
    )
    full, bare = found.models["x"].values()
    assert (full.model_name, full.model_type, full.context_window, full.max_tokens) == ("some-model", "chat", 10, 5)
    assert (full.supports_tools, full.supports_vision, full.supports_streaming) == (True, True, True)
    assert (full.deprecation_date, full.is_deprecated, full.feature_key) == (TODAY, True, "models.x")
    assert (bare.model_type, bare.deprecation_date, bare.is_deprecated) == ("unknown", None, False)
    assert (bare.supports_vision, bare.context_window, bare.input_price_per_1k) == (False, None, None)


def test_the_older_field_max_tokens_is_a_context_window_only_where_nothing_else_is_said() -> None:
    assert model({"max_tokens": 7}).context_window == 7
    assert model({"max_tokens": 7, "max_input_tokens": 9}).context_window == 9
    assert model({"max_tokens": 7, "max_output_tokens": 7}).context_window is None


def test_whole_numbers_may_be_written_as_decimals() -> None:
    found = read('{"m": {"litellm_provider": "x", "max_input_tokens": 1e6}}')
    assert found.models["x"]["m"].context_window == 1_000_000


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({}, "names no provider"),
        ({"litellm_provider": ""}, "names no provider"),
        ({"litellm_provider": 7}, "names no provider"),
        ([], "not an object"),
        (None, "not an object"),
        ({**CHAT, "mode": "telepathy"}, "'telepathy' is not known"),
        ({**CHAT, "mode": 7}, "'7' is not known"),
        ({**CHAT, "mode": ["chat"]}, "is not known"),
        ({**CHAT, "max_input_tokens": -1}, "max_input_tokens"),
        ({**CHAT, "max_input_tokens": 1.5}, "max_input_tokens"),
        ({**CHAT, "max_input_tokens": "max input tokens, if the provider specifies it"}, "max_input_tokens"),
        ({**CHAT, "max_output_tokens": 2**31}, "max_output_tokens"),
        ({**CHAT, "max_output_tokens": True}, "max_output_tokens"),
        ({**CHAT, "input_cost_per_token": -0.1}, "input_cost_per_token"),
        ({**CHAT, "input_cost_per_token": "0.1"}, "input_cost_per_token"),
        ({**CHAT, "output_cost_per_token": float("nan")}, "output_cost_per_token"),
        ({**CHAT, "output_cost_per_token": float("-inf")}, "output_cost_per_token"),
        ({**CHAT, "supports_vision": "yes"}, "supports_vision"),
        ({**CHAT, "deprecation_date": "2026-02-30"}, "deprecation_date"),
        ({**CHAT, "deprecation_date": "20260228"}, "deprecation_date"),
        ({**CHAT, "deprecation_date": 20260228}, "deprecation_date"),
        ({**CHAT, "litellm_provider": "y" * 101}, "provider"),
        ({**CHAT, "litellm_provider": "…"}, "no feature key of its own"),
    ],
)
def test_what_cannot_be_mapped_is_reported(entry: Any, says: str) -> None:
    assert says in why(entry)


@pytest.mark.parametrize("number", ["1e999999", "1e-999999", "1e99999999999999999999", "9" * 2000])
def test_a_huge_number_is_reported_and_fills_no_memory(number: str) -> None:
    for field in ("max_input_tokens", "input_cost_per_token"):
        found = read(
            f'{{"good": {{"litellm_provider": "x"}}, "bad": {{"litellm_provider": "x", "{field}": {number}}}}}'
        )
        assert field in dict(found.reported)["bad"]


@pytest.mark.parametrize("model_id", ["", " x", "x" * 256, "x/" + "y" * 254, "nul\0"])
def test_an_id_that_no_row_can_have_is_reported(model_id: str) -> None:
    found = read({"good": CHAT, model_id: CHAT})
    assert list(found.models["x"]) == ["good"]
    assert [key for key, _ in found.reported] == [model_id]


def test_what_is_in_the_list_twice_is_reported() -> None:
    found = read('{"m": {"litellm_provider": "x"}, "n": {"litellm_provider": "x"}, "m": {"litellm_provider": "y"}}')
    assert found.models.keys() == {"x"}
    assert found.reported == (("m", "it is in the list twice"),)
    found = read('{"m": {"litellm_provider": "x", "mode": "chat", "mode": "ocr"}, "n": {"litellm_provider": "x"}}')
    assert found.reported == (("m", "mode is in it twice"),)


def test_providers_are_normalised_and_never_merged() -> None:
    assert feature_keys(["Open AI", "x.ai"]) == ({"Open AI": "models.open-ai", "x.ai": "models.x-ai"}, {})
    found = read({"a": {"litellm_provider": "open-ai"}, "b": {"litellm_provider": "Open AI"}, "c": CHAT})
    assert found.models.keys() == {"x"}
    assert {reason for _, reason in found.reported} == {"no feature key of its own for Open AI, open-ai"}


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"7", b"\xff\xfe", b"{", b"[" * 100_000, b"{}", b'{"a": {}}', b'{"a": 1' + b"0" * 5000 + b"}"],
)
def test_what_is_no_list_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidInput):
        LiteLLM().read(content)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        LiteLLM().read(tmp_path / "no.json")


def test_progress_ends_where_the_list_ends() -> None:
    told: list[tuple[int, int]] = []
    entries = {f"m{number}": CHAT for number in range(250)}
    LiteLLM().read(json.dumps(entries).encode(), progress=lambda done, total: told.append((done, total)))
    assert told == [(0, 250), (100, 250), (200, 250), (250, 250)]


def test_importers_are_found_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find("litellm").name == "litellm"
    assert importers.names() == ["litellm"]
    for name in ("base", "fields", "nothing", "../x"):
        with pytest.raises(InvalidInput, match="no importer"):
            find(name)

    class Point:
        name = "other"

        def load(self) -> LiteLLM:
            return LiteLLM()

    monkeypatch.setattr(importers, "entry_points", lambda **_: [Point()])
    assert importers.names() == ["litellm", "other"]
    assert isinstance(find("other"), LiteLLM)


def imported(entries: Mapping[str, Any], current: CatalogDocument | None = None) -> CatalogDocument:
    """Merge a list into a catalogue."""
    return merge(current or CatalogDocument(), read(entries), "litellm")


def changed(document: CatalogDocument, model_id: str, **values: Any) -> CatalogDocument:
    """Return a catalogue in which somebody has changed a model by hand."""
    models = dict(document.models["x"])
    models[model_id] = models[model_id].model_copy(update=values)
    return CatalogDocument(**(dict(document) | {"models": {**document.models, "x": models}}))


def test_the_first_import_says_where_the_models_are_from() -> None:
    found = imported({"m": {**CHAT, "input_cost_per_token": 1e-6}})
    made = found.models["x"]["m"]
    assert made.import_source == "litellm"
    assert made.imported == {
        "feature_key": "models.x",
        "input_price_per_1k": "0.001",
        "model_name": "m",
        "model_type": "chat",
    }
    feature = found.features["models.x"]
    assert feature.default_value == {"enabled": False, "unlimited": True}


def test_the_same_list_again_changes_nothing() -> None:
    once = merge(CatalogDocument(), LiteLLM(TODAY).read(LIST), "litellm")
    again = merge(once, LiteLLM(TODAY).read(LIST), "litellm")
    assert again == once
    assert again.canonical() == CatalogDocument.model_validate(once.model_dump()).canonical()


def test_a_new_list_updates_and_what_people_set_stays() -> None:
    before = imported({"m": {**CHAT, "max_output_tokens": 5, "input_cost_per_token": 1e-6}})
    before = changed(before, "m", model_name="Our model", model_family="ours", input_price_per_1k=Decimal(7))
    after = imported(
        {"m": {**CHAT, "max_output_tokens": 6, "supports_vision": True, "input_cost_per_token": 2e-6}}, before
    ).models["x"]["m"]
    assert (after.model_name, after.model_family, after.input_price_per_1k) == ("Our model", "ours", Decimal(7))
    assert (after.max_tokens, after.supports_vision) == (6, True)
    assert after.imported is not None
    assert after.imported["input_price_per_1k"] == "0.002"
    again = imported({"m": {**CHAT, "max_output_tokens": 7, "input_cost_per_token": 3e-6}}, changed_to(after))
    assert (again.models["x"]["m"].input_price_per_1k, again.models["x"]["m"].max_tokens) == (Decimal(7), 7)


def changed_to(entry: ModelEntry) -> CatalogDocument:
    """Return a catalogue of one model."""
    return CatalogDocument(models={"x": {"m": entry}})


def test_what_vanishes_is_retired_and_revived_when_it_comes_back() -> None:
    both = imported({"m": CHAT, "n": CHAT})
    one = imported({"n": CHAT}, both)
    assert not one.models["x"]["m"].is_active
    assert one.models["x"]["n"].is_active
    assert imported({"n": CHAT}, one) == one
    assert imported({"m": CHAT, "n": CHAT}, one) == both


def test_a_provider_that_vanishes_is_retired_too() -> None:
    both = imported({"m": CHAT, "n": {"litellm_provider": "y"}})
    one = imported({"n": {"litellm_provider": "y"}}, both)
    assert not one.models["x"]["m"].is_active
    assert one.features.keys() == {"models.x", "models.y"}


def test_what_is_reported_has_not_vanished() -> None:
    both = imported({"m": CHAT, "n": CHAT})
    assert imported({"m": {**CHAT, "mode": "telepathy"}, "n": CHAT}, both) == both


def test_a_model_that_people_switched_off_stays_off() -> None:
    off = changed(imported({"m": CHAT, "n": CHAT}), "m", is_active=False)
    assert not imported({"m": {**CHAT, "supports_vision": True}, "n": CHAT}, off).models["x"]["m"].is_active
    gone = imported({"n": CHAT}, off)
    assert not imported({"m": CHAT, "n": CHAT}, gone).models["x"]["m"].is_active


def test_a_model_that_people_switched_on_again_stays_on() -> None:
    gone = imported({"n": CHAT}, imported({"m": CHAT, "n": CHAT}))
    on = changed(gone, "m", is_active=True)
    assert imported({"n": CHAT}, on).models["x"]["m"].is_active
    assert imported({"m": CHAT, "n": CHAT}, on).models["x"]["m"].is_active


@pytest.mark.parametrize("origin", [None, "another-list"])
def test_what_something_else_made_is_left_alone(origin: str | None) -> None:
    mine = ModelEntry(model_name="Mine", model_type="chat", feature_key="models.x", import_source=origin)
    current = changed_to(mine)
    after = imported({"m": {**CHAT, "supports_vision": True}, "n": CHAT}, current)
    assert after.models["x"]["m"] == mine
    ((key, reason),) = left_alone(current, read({"m": CHAT, "n": CHAT}), "litellm")
    assert key == "m"
    assert "left as it is" in reason
    assert imported({"n": CHAT}, current).models["x"]["m"] == mine


def test_a_feature_that_is_there_is_kept() -> None:
    feature = FeatureEntry(
        feature_name="Ours",
        category="ours",
        feature_type="boolean",  # type: ignore[arg-type]
        default_value={"enabled": False, "value": False},
        is_active=False,
    )
    after = imported({"m": CHAT}, CatalogDocument(features={"models.x": feature}))
    assert after.features == {"models.x": feature}
