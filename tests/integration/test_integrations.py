"""What tenants configure: one document, two columns, versions that say what changed, and nothing lost on the way."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine
from sqlmodel import Session

from tests.support.integrations import CONFIGS, KEY_1, KEY_2, KEYS, SCHEMA, offer, service
from tests.support.registry import history, writer
from tierwright.errors import (
    AuditContextMissing,
    ConfigChanged,
    ConfigInvalid,
    DecryptionFailed,
    EnvelopeInvalid,
    FeatureDenied,
    InvalidInput,
    NotFound,
    ReferenceUnknown,
    SecretInPlainConfig,
    SecretsNotConfigured,
    UnknownKeyId,
)
from tierwright.integrations import AsyncTenantIntegrations, TenantIntegrations
from tierwright.secrets import KeyRing
from tierwright.services.audit import AuditContext

DOCUMENT = {"channel": "#alerts", "region": "eu", "bot_token": "xoxb-1", "oauth": {"client": "c", "client_secret": "s"}}
PUBLIC = {"channel": "#alerts", "region": "eu", "oauth": {"client": "c"}}
NAMES = ("/bot_token", "/oauth/client_secret")


@pytest.fixture
def engine(migrated_engine: Engine) -> Engine:
    """Return a database with the integration slack, which acme and globex may use."""
    offer(migrated_engine)
    return migrated_engine


def row_of(engine: Engine, tenant: str = "acme") -> Any:
    with engine.connect() as connection:
        return connection.execute(sa.select(CONFIGS).where(CONFIGS.c.tenant_id == tenant)).one_or_none()


def configure(engine: Engine, document: dict[str, Any] = DOCUMENT, tenant: str = "acme", **options: Any) -> Any:
    keys = options.pop("keys", KEYS)
    with Session(engine) as session:
        done = service(session, keys).configure(tenant, "slack", document, **options)
        session.commit()
    return done


def revealed(engine: Engine, tenant: str = "acme", keys: Any = KEYS) -> dict[str, Any]:
    with Session(engine) as session:
        return dict(service(session, keys).reveal(tenant, "slack"))


def test_one_document_becomes_two_columns_and_comes_back(engine: Engine) -> None:
    done = configure(engine)
    assert (done.changed, done.warnings, done.config_version, done.secret_version) == (True, (), 1, 1)
    row = row_of(engine)
    assert row.config == PUBLIC
    assert b"xoxb-1" not in row.encrypted_config
    with Session(engine) as session:
        found = service(session, None).get("acme", "slack")
        assert [found] == list(service(session, None).list("acme"))
        assert (found.config, found.secret_names, found.is_enabled) == (PUBLIC, NAMES, False)
        assert "#alerts" not in repr(found)
        assert service(session, None).list("globex") == ()
        with pytest.raises(NotFound):
            service(session).get("globex", "slack")
    assert revealed(engine) == {"/bot_token": "xoxb-1", "/oauth/client_secret": "s"}


def test_what_is_not_resent_is_kept_and_what_is_forgotten_goes(engine: Engine) -> None:
    configure(engine)
    done = configure(engine, {"channel": "#new", "bot_token": "xoxb-2"})
    assert (done.config_version, done.secret_version) == (2, 2)
    assert revealed(engine) == {"/bot_token": "xoxb-2", "/oauth/client_secret": "s"}
    with pytest.raises(ConfigInvalid, match="bytes"):  # together, they would be too many
        configure(engine, {"channel": "#new", "oauth": {"client_secret": "s" * (64 * 1024 - 40)}})
    configure(engine, {"channel": "#new"}, forget=["oauth/client_secret"])
    assert revealed(engine) == {"/bot_token": "xoxb-2"}
    for forget in (["no_such"], "bot_token", [5], 5, ["bot_token", "oauth/client_secret"]):
        with pytest.raises(InvalidInput):
            configure(engine, {"channel": "#new", "bot_token": "xoxb-3"}, forget=forget)
    configure(engine, {"channel": "#new"}, forget=["bot_token"])
    assert row_of(engine).encrypted_config is None
    assert revealed(engine, keys=None) == {}


def test_each_version_moves_with_what_it_counts(engine: Engine) -> None:
    configure(engine)
    steps: list[tuple[dict[str, Any], tuple[bool, int, int]]] = [
        (DOCUMENT, (False, 1, 1)),
        ({**PUBLIC, "region": "us"}, (True, 2, 1)),
        ({**PUBLIC, "region": "us", "bot_token": "xoxb-1"}, (False, 2, 1)),
        ({**PUBLIC, "region": "us", "bot_token": "xoxb-3"}, (True, 3, 2)),
    ]
    for document, expected in steps:
        done = configure(engine, document)
        assert (done.changed, done.config_version, done.secret_version) == expected
    with Session(engine) as session:
        on = service(session, None).enable("acme", "slack")
        assert (on.changed, on.config_version, on.secret_version) == (True, 4, 2)
        assert not service(session, None).enable("acme", "slack").changed
        assert service(session, None).disable("acme", "slack").config_version == 5
        session.commit()
    assert row_of(engine).config_version == 5


def test_what_needs_no_secret_needs_no_key(engine: Engine) -> None:
    configure(engine)
    before = row_of(engine).encrypted_config
    configure(engine, {**PUBLIC, "region": "us"}, keys=None)
    assert row_of(engine).encrypted_config == before
    with Session(engine) as session:
        without = service(session, None)
        without.enable("acme", "slack")
        assert without.get("acme", "slack").is_enabled
        without.disable("acme", "slack")
        without.remove("acme", "slack")
        session.commit()
    assert row_of(engine) is None
    with pytest.raises(SecretsNotConfigured):
        configure(engine, keys=None)
    assert row_of(engine) is None
    done = configure(engine, {"channel": "#a"}, keys=None)  # complete only once the token is there
    assert "/bot_token" in done.warnings[0]


def test_a_row_that_does_not_decrypt_is_kept_unless_it_is_replaced(engine: Engine) -> None:
    configure(engine)
    before = row_of(engine)
    wrong, missing = KeyRing({"k1": KEY_2}, "k1"), KeyRing({"k2": KEY_2}, "k2")
    for keys, error in ((wrong, DecryptionFailed), (missing, UnknownKeyId), (None, SecretsNotConfigured)):
        with pytest.raises(error):
            configure(engine, {**PUBLIC, "bot_token": "xoxb-9"}, keys=keys)
        with pytest.raises(error):
            revealed(engine, keys=keys)
        assert row_of(engine) == before
    done = configure(engine, {**PUBLIC, "bot_token": "xoxb-9"}, keys=missing, replace=True)
    assert done.secret_version == 2
    assert revealed(engine, keys=missing) == {"/bot_token": "xoxb-9"}


def test_what_is_no_envelope_is_told_and_not_overwritten(engine: Engine) -> None:
    configure(engine)
    with engine.begin() as connection:
        connection.execute(sa.update(CONFIGS).values(encrypted_config=b"plain"))
    with Session(engine) as session:
        assert service(session).get("acme", "slack").secret_names is None
    for document in (PUBLIC, {**PUBLIC, "bot_token": "xoxb-9"}):
        with pytest.raises(EnvelopeInvalid):
            configure(engine, document)
    configure(engine, DOCUMENT, replace=True)
    assert revealed(engine)["/bot_token"] == "xoxb-1"


@pytest.mark.parametrize("changed", [{"tenant_id": "globex"}, {"integration_key": "mail"}, {"secret_version": 7}])
def test_an_envelope_copied_to_another_row_does_not_open(engine: Engine, changed: dict[str, Any]) -> None:
    offer(engine, "mail")
    configure(engine)
    values = {**row_of(engine)._mapping, **changed}
    with engine.begin() as connection:
        connection.execute(sa.delete(CONFIGS))
        connection.execute(sa.insert(CONFIGS).values(**values))
    with Session(engine) as session, pytest.raises(DecryptionFailed):
        service(session).reveal(values["tenant_id"], values["integration_key"])
    assert row_of(engine, values["tenant_id"]).encrypted_config == values["encrypted_config"]


def test_a_document_that_does_not_fit_is_refused_without_its_values(engine: Engine) -> None:
    refused: list[Any] = [
        {"region": "eu"},
        {"channel": 5},
        {"channel": "#a", "bot_token": "x"},
        {"channel": "#a", "region": "sentinel-1"},
        {"channel": "#a", "other": ["sentinel-1"]},
        {"channel": "#a", "oauth": {"client_secret": {"sentinel-1": "sentinel-1"}}},
        {"channel": "#a", "bot_token": float("nan")},
        {"channel": "\0"},
        ["channel"],
        None,
    ]
    for document in refused:
        with pytest.raises(ConfigInvalid) as caught:
            configure(engine, document)
        assert "sentinel" not in str(caught.value) + str(caught.value.details)
    assert row_of(engine) is None
    configure(engine)
    with pytest.raises(ConfigInvalid, match="minLength at /bot_token"):
        configure(engine, {"channel": "#a", "bot_token": "x"})
    assert revealed(engine)["/bot_token"] == "xoxb-1"


def test_what_looks_like_a_secret_is_not_stored_in_the_clear(engine: Engine) -> None:
    for name, value in (
        ("api_key", "sentinel-1"),
        ("dbPassword", "sentinel-2"),
        ("note", "-----BEGIN PRIVATE KEY-----\nMII"),
    ):
        with pytest.raises(SecretInPlainConfig) as caught:
            configure(engine, {"channel": "#a", name: value})
        assert value not in str(caught.value)
    configure(engine, {"channel": "#a", "token_url": "https://x", "max_tokens": 5})


def test_an_enabled_integration_stays_complete(engine: Engine) -> None:
    configure(engine, {"channel": "#a"})
    with Session(engine) as session:
        with pytest.raises(ConfigInvalid, match="bot_token"):
            service(session).enable("acme", "slack")
        service(session).configure("acme", "slack", DOCUMENT)
        service(session).enable("acme", "slack")
        session.commit()
    with pytest.raises(ConfigInvalid):
        configure(engine, PUBLIC, forget=["bot_token"])
    with Session(engine) as session:
        writer(session).integrations.change("slack", config_schema={"type": "object", "required": ["team"]})
        service(session).disable("acme", "slack")
        with pytest.raises(ConfigInvalid, match="required"):
            service(session).enable("acme", "slack")


def test_what_the_schema_has_marked_since_is_not_used_in_the_clear(engine: Engine) -> None:
    configure(engine, {**DOCUMENT, "hook": "https://hooks.example/hush"})
    marked = {**SCHEMA, "properties": {**SCHEMA["properties"], "hook": {"type": "string", "writeOnly": True}}}
    with Session(engine) as session:
        writer(session).integrations.change("slack", config_schema=marked)
        with pytest.raises(SecretInPlainConfig, match="/hook") as caught:
            service(session).enable("acme", "slack")
        assert "hush" not in f"{caught.value} {caught.value.details}"
        service(session).configure("acme", "slack", dict(service(session).get("acme", "slack").config))
        assert service(session).enable("acme", "slack").changed
        assert service(session).get("acme", "slack").secret_names == ("/bot_token", "/hook", "/oauth/client_secret")


def test_only_who_has_the_feature_may_enable_and_connect(engine: Engine) -> None:
    configure(engine)
    configure(engine, tenant="initech")
    with Session(engine) as session:
        with pytest.raises(FeatureDenied):
            service(session).enable("initech", "slack")
        with pytest.raises(NotFound):
            service(session).credentials("acme", "slack")
        service(session).enable("acme", "slack")
        found = service(session).credentials("acme", "slack")
        assert found.document() == DOCUMENT
        assert found.secrets["bot_token"] == found.secrets["/bot_token"] == "xoxb-1"
        assert "channel" not in found.secrets
        assert 5 not in found.secrets
        assert "xoxb" not in repr(found)
        writer(session).licenses.end("acme", license_key="slack")
        with pytest.raises(FeatureDenied):
            service(session).credentials("acme", "slack")
        writer(session).integrations.retire("slack")
        with pytest.raises(NotFound):
            service(session).enable("acme", "slack")


def test_the_history_has_names_and_versions_and_no_value(engine: Engine) -> None:
    with Session(engine) as session:
        begun = len(history(session))
    configure(engine)
    configure(engine, {**PUBLIC, "channel": "#b", "bot_token": "xoxb-2"})
    with Session(engine) as session:
        calls = service(session)
        calls.enable("acme", "slack")
        calls.reveal("acme", "slack", actor="mallory", reason="curious")
        calls.disable("acme", "slack")
        calls.remove("acme", "slack")
        session.commit()
        entries = history(session)[begun:]
    assert {(kind, name) for kind, name, *_ in entries} == {("tenant_integration", "acme/slack")}
    assert [(action, old, new) for _, _, action, old, new in entries] == [
        (
            "created",
            None,
            {
                "config": ["/channel", "/oauth", "/region"],
                "secrets": [*NAMES],
                "config_version": 1,
                "secret_version": 1,
            },
        ),
        (
            "updated",
            None,
            {"config": ["/channel"], "secrets": ["/bot_token"], "config_version": 2, "secret_version": 2},
        ),
        ("enabled", None, {"config_version": 3}),
        ("revealed", None, {"secrets": [*NAMES], "secret_version": 2}),
        ("disabled", None, {"config_version": 4}),
        ("deleted", {"config_version": 4, "secret_version": 2}, None),
    ]


def test_the_version_that_was_seen_must_still_be_there(engine: Engine) -> None:
    assert configure(engine, expected_version=0).config_version == 1
    with pytest.raises(ConfigChanged):
        configure(engine, expected_version=0)
    assert configure(engine, {"channel": "#b"}, expected_version=1).config_version == 2
    for call in ("enable", "disable", "remove"):
        with Session(engine) as session, pytest.raises(ConfigChanged):
            getattr(service(session), call)("acme", "slack", expected_version=1)
    with pytest.raises(InvalidInput):
        configure(engine, expected_version=True)


def test_writers_at_once_lose_nothing(engine: Engine) -> None:
    configure(engine, {"channel": "#a", "bot_token": "xoxb-0"})
    failed: list[type[Exception]] = []

    def write(name: str, expected: int | None) -> None:
        try:
            configure(engine, {"channel": "#a", name: 1}, expected_version=expected)
        except ConfigChanged as error:
            failed.append(type(error))

    def at_once(expected: int | None) -> None:
        threads = [threading.Thread(target=write, args=(f"{expected}-{number}", expected)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    at_once(1)
    assert failed == [ConfigChanged] * 3
    assert row_of(engine).config_version == 2
    at_once(None)
    assert row_of(engine).config_version == 6
    assert revealed(engine) == {"/bot_token": "xoxb-0"}


def test_what_is_no_tenant_key_or_integration_is_refused(engine: Engine) -> None:
    with Session(engine) as session:
        calls = service(session)
        for tenant, key in ((" acme", "slack"), ("", "slack"), (True, "slack"), ("acme", "a\0b"), ("acme", None)):
            for call in (calls.get, calls.reveal, calls.enable, calls.credentials):
                with pytest.raises(InvalidInput):
                    call(tenant, key)  # type: ignore[arg-type, operator]
        with pytest.raises(ReferenceUnknown):
            calls.configure("acme", "no-such", {})
        with pytest.raises(NotFound):
            calls.reveal("acme", "slack")
    with Session(engine) as session, pytest.raises(AuditContextMissing):
        TenantIntegrations(session).configure("acme", "slack", {"channel": "#a"})


def test_an_async_session_has_the_same_calls(engine: Engine) -> None:
    from tests.support.asynchronous import run_async

    async def talk(session: Any) -> None:
        AuditContext("tester").attach(session)
        calls = AsyncTenantIntegrations(session, keys=KEYS)
        assert (await calls.configure("acme", "slack", DOCUMENT)).config_version == 1
        assert (await calls.enable("acme", "slack", expected_version=1)).changed
        assert (await calls.credentials("acme", "slack")).document() == DOCUMENT
        assert dict(await calls.reveal("acme", "slack"))["/bot_token"] == "xoxb-1"
        assert (await calls.get("acme", "slack")).is_enabled
        assert (await calls.disable("acme", "slack")).changed
        assert (await calls.remove("acme", "slack")).changed
        assert await calls.list("acme") == ()
        await session.commit()

    run_async(engine, talk)


def test_a_key_that_was_rotated_away_is_named(engine: Engine) -> None:
    configure(engine)
    with pytest.raises(UnknownKeyId, match="k1"):
        revealed(engine, keys=KeyRing({"k9": KEY_1}, "k9"))
