"""Unknown feature keys get a question, on every database: on errors only, by one statement, and never with tenants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.cli import run, run_json, small_catalogue
from tests.support.registry import ON, feature, writer
from tierwright.errors import InvalidInput, NotFound, ReferenceUnknown, TierwrightError
from tierwright.services import near_keys
from tierwright.services.registry import Registry
from tierwright.tables import ComponentRegistry

MODEL = {"provider": "p", "model_id": "m", "model_name": "M", "model_type": "chat"}
COMPONENT = {"component_key": "c", "component_name": "c", "display_name": "C", "category": "x"}
CREATE, CHECK = "Create it first, or correct the key", "Check the key"
MEANT = "; did you mean ui.limit?"

#: Every write that names a feature.
WRITES: list[tuple[Callable[[Registry, str], Any], type[TierwrightError], str]] = [
    (lambda registry, key: registry.overrides.set("acme", key, ON), ReferenceUnknown, CREATE),
    (lambda registry, key: registry.overrides.set("acme", "ui.canvas", ON, deny=[key]), ReferenceUnknown, CREATE),
    (lambda registry, key: registry.tiers.grant("pro", {key: ON}), ReferenceUnknown, CREATE),
    (lambda registry, key: registry.tiers.revoke("pro", [key]), ReferenceUnknown, CREATE),
    (lambda registry, key: registry.models.create({**MODEL, "feature_key": key}), ReferenceUnknown, CREATE),
    (
        lambda registry, key: registry.components.create({**COMPONENT, "required_features": [key]}),
        ReferenceUnknown,
        CREATE,
    ),
    (lambda registry, key: registry.features.create(feature("ui.new", depends_on=[key])), ReferenceUnknown, CREATE),
    (lambda registry, key: registry.features.change("ui.canvas", conflicts_with=[key]), ReferenceUnknown, CREATE),
    (lambda registry, key: registry.features.change(key, is_premium=True), NotFound, CHECK),
    (lambda registry, key: registry.features.retire(key), NotFound, CHECK),
]


class Executed:
    """Keeps the statements that run on an engine."""

    def __init__(self, engine: Engine) -> None:
        self.texts: list[str] = []
        sa.event.listen(engine, "before_cursor_execute", self._seen)

    def _seen(self, _connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        self.texts.append(statement)

    def lookups(self) -> int:
        """Return how often keys were looked for by their length."""
        return sum("length(" in text.lower() for text in self.texts)


@pytest.fixture
def url(migrated_engine: Engine) -> str:
    """Return the URL of a database with a small catalogue."""
    return small_catalogue(migrated_engine)


@pytest.mark.usefixtures("url")
def test_every_write_asks_what_was_meant(migrated_engine: Engine) -> None:
    for write, kind, remedy in WRITES:
        for key, question in (("ui.limt", MEANT), ("zz.unheard-of", ".")):
            with Session(migrated_engine) as session, pytest.raises(kind) as refused:
                write(writer(session), key)
            assert refused.value.remedy == remedy + question
            assert key in refused.value.message


@pytest.mark.usefixtures("url")
def test_also_a_list_that_is_written_past_the_services(migrated_engine: Engine) -> None:
    with Session(migrated_engine) as session:
        writer(session).session.add(ComponentRegistry(**COMPONENT, required_features=["ui.limt"]))
        with pytest.raises(ReferenceUnknown) as refused:
            session.flush()
    assert refused.value.remedy == CREATE + MEANT


@pytest.mark.usefixtures("url")
def test_nothing_is_read_but_on_an_error_and_then_once(migrated_engine: Engine) -> None:
    seen = Executed(migrated_engine)
    with Session(migrated_engine) as session, session.begin():
        registry = writer(session)
        registry.overrides.set("acme", "ui.limit", ON)
        registry.tiers.grant("pro", {"data.history": ON})
        registry.features.change("ui.canvas", description="A canvas.")
        assert seen.lookups() == 0
        with pytest.raises(ReferenceUnknown, match="did you mean"):
            registry.tiers.grant("pro", {"ui.limt": ON, "ui.canvs": ON, "help.caht": ON, "data.hist": ON})
        assert seen.lookups() == 1
        for wrong in ("Ui.Limit", "ui limit", "ui", "ui.limit\x00", "x" * 300 + ".y"):
            with pytest.raises(InvalidInput):
                registry.overrides.set("acme", wrong, ON)
        with pytest.raises(ReferenceUnknown):
            registry.licenses.assign("acme", "prp")  # of tiers nobody is asked
        assert seen.lookups() == 1
        assert registry.overrides.set("acme", "ui.canvas", ON)  # the transaction goes on


@pytest.mark.usefixtures("url")
def test_how_much_is_read_is_bounded(migrated_engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_keys, "_MOST_READ", 2)  # data.history, data.nothing
    with migrated_engine.connect() as connection:
        assert near_keys.near(connection, "ui.limt") == []
        monkeypatch.undo()
        assert near_keys.near(connection, "ui.limt") == ["ui.limit"]
        assert near_keys.near(connection, "ui.limi'; DROP") == []
        assert near_keys.near(connection, "ui.%") == []


# --- the commands that ask by key ------------------------------------------------------------------------------------


def test_a_decision_about_an_unknown_feature_asks(url: str) -> None:
    printed = run("evaluate", "acme", "ui.limt", url=url, exit_code=1).stdout.splitlines()
    assert printed == [
        "denied ui.limt for acme",
        "  reason      FEATURE_NOT_FOUND",
        "  source      none",
        "  did you mean ui.limit?",
    ]
    assert "did you mean" not in run("evaluate", "acme", "zz.unheard-of", url=url, exit_code=1).output
    assert "did you mean" not in run("evaluate", "acme", "Ui.Limit", url=url, exit_code=1).output
    # JSON for machines is the decision, as ever
    assert "ui.limit" not in run("evaluate", "acme", "ui.limt", "--json", url=url, exit_code=1).output


def test_an_explanation_of_an_unknown_feature_asks(url: str) -> None:
    assert run("explain", "acme", "ui.limt", url=url).stdout.splitlines() == [
        "There is no feature ui.limt, so nobody may use it.",
        "  Check the key, or create the feature; did you mean ui.limit?",
    ]
    assert run_json("explain", "acme", "ui.limt", url=url)["remedy"].endswith(MEANT)
    for key in ("zz.unheard-of", "Ui.Limit"):
        assert run_json("explain", "acme", key, url=url)["remedy"] == "Check the key, or create the feature."


@pytest.mark.parametrize(
    ("arguments", "code", "remedy"),
    [
        (["feature", "show", "ui.limt"], "not-found", "`tierwright feature list` names them" + MEANT),
        (["tenants", "--with", "ui.limt"], "not-found", "`tierwright feature list` names them" + MEANT),
        (["feature", "retire", "ui.limt"], "not-found", CHECK + MEANT),
        (["override", "set", "acme", "ui.limt"], "reference-unknown", CREATE + MEANT),
        (["tier", "grant", "pro", "ui.limt"], "reference-unknown", CREATE + MEANT),
        (["feature", "show", "zz.unheard-of"], "not-found", "`tierwright feature list` names them."),
        (["feature", "show", "Ui.Limit"], "not-found", "`tierwright feature list` names them."),
        (["tenants", "--with", "Ui.Limit"], "not-found", "`tierwright feature list` names them."),
        (["tier", "show", "prp"], "not-found", "`tierwright tier list` names them."),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_command_asks_what_was_meant(arguments: list[str], code: str, remedy: str, url: str) -> None:
    error = run_json(*arguments, url=url, exit_code=1)["error"]
    assert (error["code"], error["remedy"]) == (code, remedy)
