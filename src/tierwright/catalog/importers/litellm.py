"""LiteLLM's price list (``model_prices_and_context_window.json``) as models, and one feature per provider.

Nothing is guessed: an entry that names no provider, has a type that is not known here, or a number that cannot be, is
reported and left out. Prices go from the text of the file to exact decimals, never through a float.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from tierwright.catalog.document import FeatureEntry, ModelEntry
from tierwright.catalog.importers import fields
from tierwright.catalog.importers.base import ImportResult, Progress, Reported
from tierwright.catalog.importers.fields import Unmappable
from tierwright.catalog.importers.json_list import JsonObject, read_object
from tierwright.errors import InvalidInput

#: The list's ``mode`` is our ``model_type``; another mode is reported, and an entry without one has the type UNKNOWN.
TYPES = frozenset(
    {
        "audio_speech",
        "audio_transcription",
        "chat",
        "completion",
        "decisions",
        "embedding",
        "evaluation",
        "extraction",
        "guardrail",
        "image_edit",
        "image_generation",
        "moderation",
        "ocr",
        "realtime",
        "rerank",
        "responses",
        "search",
        "vector_store",
        "video_generation",
    }
)
UNKNOWN = "unknown"
_EVERY = 100  # entries between two calls of ``progress``


class LiteLLM:
    """Reads LiteLLM's price list.

    Args:
        today: models whose deprecation date is not after it are deprecated; the current day in UTC unless given.
    """

    name = "litellm"

    def __init__(self, today: date | None = None) -> None:
        self._today = today

    def read(self, file: Path | bytes, *, progress: Progress | None = None) -> ImportResult:
        """Return what the list holds; see :class:`~tierwright.catalog.importers.base.Importer`.

        Raises:
            InvalidInput: it cannot be read, is no such list, or nothing in it can be mapped.
        """
        entries = read_object(file)
        keys, refused = fields.feature_keys(_providers(entries))
        today = self._today or datetime.now(UTC).date()
        models: dict[str, dict[str, ModelEntry]] = defaultdict(dict)
        reported = []
        for number, (model_id, entry) in enumerate(entries.items()):
            if progress is not None and number % _EVERY == 0:
                progress(number, len(entries))
            try:
                if model_id in entries.twice:
                    raise Unmappable("it is in the list twice")
                provider = _provider(entry, refused)
                fields.check_keys(provider, model_id)
                model = _model(model_id, entry, keys[provider], today)
                models[provider][model_id] = model
            except Unmappable as problem:
                reported.append(Reported(model_id, str(problem)))
        if not models:
            raise InvalidInput("No model of the list can be mapped.", remedy="Check that it is LiteLLM's price list.")
        if progress is not None:
            progress(len(entries), len(entries))
        features = {keys[provider]: _feature(provider) for provider in sorted(models)}
        return ImportResult(dict(models), features, tuple(reported))


def _providers(entries: Mapping[str, Any]) -> Iterable[str]:
    for entry in entries.values():
        if isinstance(entry, dict) and isinstance(provider := entry.get("litellm_provider"), str) and provider:
            yield provider


def _provider(entry: Any, refused: Mapping[str, str]) -> str:
    if not isinstance(entry, JsonObject):
        raise Unmappable("it is not an object")
    provider = entry.get("litellm_provider")
    if not isinstance(provider, str) or not provider:
        raise Unmappable("it names no provider")
    if provider in refused:
        raise Unmappable(refused[provider])
    if entry.twice:
        raise Unmappable(f"{min(entry.twice)} is in it twice")
    return provider


def _model(model_id: str, entry: Mapping[str, Any], feature_key: str, today: date) -> ModelEntry:
    ends = fields.day(entry, "deprecation_date")
    return ModelEntry(
        model_name=model_id.rpartition("/")[2].strip() or model_id,
        model_type=_type(entry.get("mode")),
        supports_tools=fields.flag(entry, "supports_function_calling"),
        supports_vision=fields.flag(entry, "supports_vision"),
        supports_streaming=fields.flag(entry, "supports_native_streaming"),
        max_tokens=fields.count(entry, "max_output_tokens"),
        context_window=_context(entry),
        input_price_per_1k=fields.price_of_1k(entry, "input_cost_per_token"),
        output_price_per_1k=fields.price_of_1k(entry, "output_cost_per_token"),
        deprecation_date=ends,
        feature_key=feature_key,
        is_deprecated=ends is not None and ends <= today,
    )


def _type(mode: Any) -> str:
    if mode is None or mode == "":
        return UNKNOWN
    if not isinstance(mode, str) or mode not in TYPES:
        raise Unmappable(f"the type {str(mode)[:60]!r} is not known")
    return mode


def _context(entry: Mapping[str, Any]) -> int | None:
    """Return the context window; the older field max_tokens means it only where the list says nothing of output."""
    found = fields.count(entry, "max_input_tokens")
    if found is None and entry.get("max_output_tokens") is None:
        return fields.count(entry, "max_tokens")
    return found


def _feature(provider: str) -> FeatureEntry:
    """Return a provider's feature; a tier that only says ``true`` sets no limit, because the default has none."""
    return FeatureEntry(
        feature_name=f"Models of {provider}",
        description=f"The models of {provider}; the value limits requests per minute.",
        category="models",
        subcategory=provider,
        feature_type="integer",  # type: ignore[arg-type]  # pydantic turns the text into the enumeration
        default_value={"enabled": False, "unlimited": True},
        value_schema={"type": "integer", "minimum": 0},
    )


IMPORTER = LiteLLM()
