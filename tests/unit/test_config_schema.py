"""Schemas of settings: which settings are secret, which schemas are refused, and what is said of a document."""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tierwright.config_schema import ConfigSchema, Problem, check_config_schema
from tierwright.config_schema.pointers import canonical, path_of, pointer_of, shown
from tierwright.config_schema.shield import shielded
from tierwright.config_schema.suspicion import names_a_secret
from tierwright.errors import ConfigInvalid, InvalidInput, NotFound

SECRET = {"type": "string", "writeOnly": True}


def schema(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties}


FOUND: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "none": ({}, ()),
    "a property": (schema(token=SECRET, channel={"type": "string"}), ("/token",)),
    "in an object": (schema(oauth=schema(secret=SECRET, id={})), ("/oauth/secret",)),
    "behind a reference": ({**schema(a={"$ref": "#/$defs/s"}), "$defs": {"s": SECRET}}, ("/a",)),
    "behind two": ({"$ref": "#/$defs/o", "$defs": {"o": schema(a={"$ref": "#/$defs/s"}), "s": SECRET}}, ("/a",)),
    "behind an anchor": ({**schema(a={"$ref": "#s"}), "$defs": {"s": {"$anchor": "s", **SECRET}}}, ("/a",)),
    "behind the older keyword": ({**schema(a={"$ref": "#/definitions/s"}), "definitions": {"s": SECRET}}, ("/a",)),
    "behind a keyword that nobody knows": ({**schema(a={"$ref": "#/x-parts/s"}), "x-parts": {"s": SECRET}}, ("/a",)),
    "one definition for two": (
        {**schema(a={"$ref": "#/$defs/s"}, b={"$ref": "#/$defs/s"}), "$defs": {"s": SECRET}},
        ("/a", "/b"),
    ),
    "beside a reference": ({**schema(a={"$ref": "#/$defs/s", "writeOnly": True}), "$defs": {"s": {}}}, ("/a",)),
    "the reference counts": ({**schema(a={"$ref": "#/$defs/s", "writeOnly": False}), "$defs": {"s": SECRET}}, ("/a",)),
    "a secret object is one": (schema(a={"writeOnly": True, **schema(b=SECRET, c={"items": SECRET})}), ("/a",)),
    "names need escapes": (schema(**{"a/b~c": SECRET, "": SECRET}), ("/", "/a~1b~0c")),
    "a property of that name": (schema(writeOnly=True, properties=schema(writeOnly={})), ()),
    "data are no marks": (schema(a={"default": {"writeOnly": True}, "enum": [{"writeOnly": True}]}), ()),
    "a list that runs in a circle": (
        {**schema(t=SECRET, next={"$ref": "#/$defs/n"}), "$defs": {"n": schema(next={"$ref": "#/$defs/n"})}},
        ("/t",),
    ),
}


@pytest.mark.parametrize("case", FOUND)
def test_secrets_are_found(case: str) -> None:
    given_schema, secrets = FOUND[case]
    assert ConfigSchema.of(given_schema).secrets == secrets


UNHEEDED: dict[str, dict[str, Any]] = {
    "items": schema(a={"items": SECRET}),
    "prefixItems": schema(a={"prefixItems": [SECRET]}),
    "contains": schema(a={"contains": SECRET}),
    "unevaluatedItems": schema(a={"unevaluatedItems": SECRET}),
    "allOf": {"allOf": [schema(a=SECRET)]},
    "anyOf": {"anyOf": [schema(a=SECRET)]},
    "oneOf": {"oneOf": [schema(a=SECRET)]},
    "not": {"not": schema(a=SECRET)},
    "if": {"if": schema(a=SECRET)},
    "then": {"then": schema(a=SECRET)},
    "else": {"else": schema(a=SECRET)},
    "patternProperties": {"patternProperties": {"a": SECRET}},
    "additionalProperties": {"additionalProperties": SECRET},
    "unevaluatedProperties": {"unevaluatedProperties": SECRET},
    "propertyNames": {"propertyNames": SECRET},
    "dependentSchemas": {"dependentSchemas": {"a": schema(b=SECRET)}},
    "contentSchema": schema(a={"contentSchema": SECRET}),
    "deep inside": schema(a=schema(b={"items": schema(c={"anyOf": [{}, SECRET]})})),
    "a definition used only there": {**schema(a={"items": {"$ref": "#/$defs/s"}}), "$defs": {"s": SECRET}},
    "a definition used there too": {
        **schema(t={"$ref": "#/$defs/s"}, a={"items": {"$ref": "#/$defs/s"}}),
        "$defs": {"s": SECRET},
    },
    "a definition that nothing uses": {**schema(a={}), "$defs": {"s": SECRET}},
    "a dynamic reference": {**schema(a={"$dynamicRef": "#s"}), "$defs": {"s": {"$dynamicAnchor": "s", **SECRET}}},
    "a circle": {"$ref": "#/$defs/n", "$defs": {"n": schema(t=SECRET, next={"$ref": "#/$defs/n"})}},
    "a circle of two": {
        **schema(a={"$ref": "#/$defs/x"}),
        "$defs": {"x": schema(y={"$ref": "#/$defs/y"}), "y": schema(x={"$ref": "#/$defs/x"}, t=SECRET)},
    },
    "an older keyword": {"dependencies": {"a": schema(b=SECRET)}},
    "an older keyword for lists": schema(a={"additionalItems": SECRET}),
    "a keyword that nobody knows": schema(a={"x-form": [{"fields": schema(b=SECRET)}]}),
    "everything": SECRET,
    "everything, by reference": {"$ref": "#/$defs/s", "$defs": {"s": SECRET}},
}


@pytest.mark.parametrize("case", UNHEEDED)
def test_a_mark_that_could_not_be_heeded_is_refused(case: str) -> None:
    with pytest.raises(InvalidInput, match="Not a usable config_schema"):
        check_config_schema(UNHEEDED[case])


BASE = schema(token=SECRET, mode={"enum": ["a", "b"]}, o=schema(secret=SECRET))
AGAIN: dict[str, dict[str, Any]] = {
    "under a condition": {**BASE, "if": schema(mode={"const": "a"}), "then": schema(token={"minLength": 9})},
    "as the condition": {**BASE, "if": schema(token={"const": "x"})},
    "in an alternative": {**BASE, "oneOf": [schema(token={"type": "string"}), {}]},
    "deeper": {**BASE, "allOf": [schema(o=schema(secret={"pattern": "x"}))]},
    "behind a reference": {**BASE, "allOf": [{"$ref": "#/$defs/x"}], "$defs": {"x": schema(token={"pattern": "x"})}},
    "by a dependency": {**BASE, "dependentSchemas": {"mode": schema(token={"pattern": "x"})}},
    "by a pattern": {**BASE, "patternProperties": {"^tok": {"type": "string"}}},
    "by the rest": {**BASE, "allOf": [{"additionalProperties": {"type": "string"}}]},
    "by the rest beside a reference": {"$ref": "#/$defs/x", "additionalProperties": False, "$defs": {"x": BASE}},
    "by what nobody has looked at": {**BASE, "anyOf": [{"unevaluatedProperties": False}]},
    "as a whole": {**BASE, "enum": [{"token": "x"}]},
    "as a part": schema(o={**schema(secret=SECRET), "const": {"secret": "x"}}),
}


@pytest.mark.parametrize("case", AGAIN)
def test_a_secret_is_described_once(case: str) -> None:
    with pytest.raises(InvalidInput, match="described a second time"):
        check_config_schema(AGAIN[case])


def test_other_parts_may_say_that_a_secret_must_be_there() -> None:
    check_config_schema(
        {
            **BASE,
            "required": ["token"],
            "additionalProperties": False,
            "unevaluatedProperties": False,
            "oneOf": [{"required": ["token"]}, {"required": ["o"], "properties": {"o": {"required": ["secret"]}}}],
            "if": schema(mode={"const": "a"}),
            "then": {"required": ["token"], "properties": {"token": True}},
            "dependentRequired": {"mode": ["token"]},
            "patternProperties": {"^x-": {"type": "string"}},
        }
    )


def test_a_pattern_that_is_none_is_refused() -> None:
    with pytest.raises(InvalidInput, match="regular expression"):
        check_config_schema({**BASE, "patternProperties": {"(": {}}})


def test_schemas_that_multiply_end() -> None:
    def doubling(last: Any) -> dict[str, Any]:
        pairs = {f"d{n}": schema(a={"$ref": f"#/$defs/d{n + 1}"}, b={"$ref": f"#/$defs/d{n + 1}"}) for n in range(30)}
        return {"$ref": "#/$defs/d0", "$defs": {**pairs, "d30": last}}

    assert ConfigSchema(doubling({"type": "string"})).secrets == ()
    with pytest.raises(InvalidInput, match="too many"):
        check_config_schema(doubling(SECRET))


SLACK = ConfigSchema(
    {
        **schema(
            channel={"type": "string"},
            token={"type": "string", "minLength": 3, "writeOnly": True},
            oauth=schema(id={}, secret={"type": "object", "maxProperties": 1, "writeOnly": True})
            | {"required": ["id"]},
            certificate=SECRET,
        ),
        "required": ["channel"],
        "additionalProperties": False,
        "oneOf": [{"required": ["token"]}, {"required": ["certificate"]}],
        "dependentRequired": {"oauth": ["token"]},
    }
)
Case = tuple[dict[str, Any], tuple[str, ...], list[tuple[str, str]], tuple[str, ...]]
#: a document, the secrets that are kept, the problems, the secrets that are missing
CHECKED: dict[str, Case] = {
    "whole": ({"channel": "x", "token": "abc"}, (), [], ()),
    "kept": ({"channel": "x"}, ("/token",), [], ()),
    "a secret is missing": ({"channel": "x"}, (), [], ("/token",)),
    "two alternatives": ({"channel": "x", "token": "abc"}, ("/certificate",), [("", "oneOf")], ()),
    "a setting is missing": ({"token": "abc"}, (), [("", "required")], ()),
    "a kept secret may be anything": ({"channel": "x", "oauth": {"id": 1}}, ("/token", "/oauth/secret"), [], ()),
    "and needs its object": ({"channel": "x"}, ("/token", "/oauth/secret"), [("/oauth", "required")], ()),
    "a given one may not": ({"channel": "x", "token": "a"}, (), [("/token", "minLength")], ()),
    "also where another is kept": ({"channel": "x", "token": "a"}, ("/token",), [("/token", "minLength")], ()),
    "nothing is told of its inside": (
        {"channel": "x", "token": "abc", "oauth": {"id": 1, "secret": {"hush": 1, "quiet": 2}}},
        (),
        [("/oauth/secret", "maxProperties")],
        (),
    ),
    "needed by another": ({"channel": "x", "certificate": "x", "oauth": {"id": 1}}, (), [], ("/token",)),
    "unknown": ({"channel": "x", "token": "abc", "hush": 1}, (), [("", "additionalProperties")], ()),
    "several": (
        {"channel": 1, "token": "abc", "oauth": {}},
        (),
        [("/channel", "type"), ("/oauth", "required")],
        (),
    ),
}


@pytest.mark.parametrize("case", CHECKED)
def test_what_is_wrong_is_told_by_place_and_rule(case: str) -> None:
    document, kept, problems, missing = CHECKED[case]
    found = SLACK.findings(document, kept)
    assert [(each.place, each.keyword) for each in found.problems] == problems
    assert found.missing == missing
    assert "hush" not in str(found)


def test_many_missing_secrets_do_not_hide_what_is_wrong() -> None:
    names = [f"s{number}" for number in range(30)]
    many = schema(a={**schema(**dict.fromkeys(names, SECRET)), "required": names}, port={"type": "integer"})
    found = ConfigSchema(many).findings({"a": {}, "port": "x"})
    assert found.problems == (Problem("/port", "type"),)
    assert len(found.missing) == len(names)


def test_keys_that_are_no_names_are_not_repeated() -> None:
    free = ConfigSchema({"additionalProperties": {"type": "integer"}})
    assert free.problems({"no name: hush": "x", "name": "x"}) == (Problem("/*", "type"), Problem("/name", "type"))
    assert str(Problem("", "type")) == "type at the top"


def test_a_schema_that_runs_in_a_circle_is_told_when_it_is_used() -> None:
    circle = {
        **schema(t=SECRET),
        "$ref": "#/$defs/a",
        "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}},
    }
    with pytest.raises(InvalidInput, match="circle"):
        ConfigSchema(circle).findings({"t": "x"}, ["/t"])


def test_names_of_secrets_are_known_by_their_last_words() -> None:
    secrets = (
        "password", "db_password", "dbPassword", "DB-PASSWORD", "passwd", "passphrase", "secret", "clientSecret",
        "webhook.secret", "token", "bot_token", "accessToken", "ACCESS_TOKEN", "token2", "apiKey", "api_key", "APIKey",
        "apikey", "x-api-key", "private_key", "privatekey", "signing-key", "secretAccessKey", "credentials",
        "encryption_key", "api_keys", "smtp_pass", "apiKeyV2", "api_key_v2", "\uff41\uff50\uff49_key",
    )  # fmt: skip
    others = (
        "token_url", "tokenEndpoint", "max_tokens", "public_key", "key", "key_id", "accessKeyId", "secret_name",
        "password_policy", "channel", "", "123", "tokenizer", "routing_key", "keyboard", "license_key", "v", "compass",
    )  # fmt: skip
    assert [name for name in secrets if not names_a_secret(name)] == []
    assert [name for name in others if names_a_secret(name)] == []


def test_what_looks_like_a_secret_is_found_anywhere_unless_it_is_said_to_be_public() -> None:
    key = "-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----"
    document = {"api_key": "x", "a": [{"token": 5}, key], "ok": {"max_tokens": 5, "has_password": True, "secret": None}}
    assert SLACK.plain_secrets(document) == ("/a/0/token", "/a/1", "/api_key")
    public = {"writeOnly": False}
    said = {
        **schema(api_key=public, a={"items": {"anyOf": [{"$ref": "#/$defs/t"}, public]}}),
        "$defs": {"t": schema(token=public)},
    }
    assert ConfigSchema(said).plain_secrets(document) == ()
    other = {"patternProperties": {"_key$": public}, "additionalProperties": schema(token=public)}
    assert ConfigSchema(other).plain_secrets({"api_key": "x", "b": {"token": 1}, "token": 1}) == ("/token",)
    nested = ConfigSchema(schema(credentials=public))
    assert nested.plain_secrets({"credentials": {"user": "x", "password": "y"}}) == ("/credentials/password",)
    assert ConfigSchema({}).plain_secrets({f"hush {key}": 1}) == ("/*",)


# --- any schema and any document -------------------------------------------------------------------------------------

NAMES = st.sampled_from(["a", "b", "c", "d/e", "~f", "g h"])
TREES = st.recursive(
    st.sampled_from(["plain", "secret", "secret by reference"]),
    lambda below: st.dictionaries(NAMES, below, min_size=1, max_size=4),
    max_leaves=12,
)


def schema_of(tree: Any) -> dict[str, Any]:
    """Return a schema whose secrets are not null, which is what stands for one that is kept."""
    if not isinstance(tree, dict):
        return {"plain": {}, "secret": {"writeOnly": True, "not": {"type": "null"}}}.get(tree, {"$ref": "#/$defs/s"})
    return {**schema(**{name: schema_of(each) for name, each in tree.items()}), "additionalProperties": False}


def places(tree: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], bool]]:
    for name, each in tree.items():
        if isinstance(each, dict):
            yield from places(each, (*path, name))
        else:
            yield (*path, name), each != "plain"


@st.composite
def cases(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any], dict[str, str]]:
    """Draw a schema, a document that fits it, and its secrets by pointer; each value is told by its place."""
    tree = draw(st.dictionaries(NAMES, TREES, max_size=4))
    document: dict[str, Any] = {}
    secrets = {}
    for path, is_secret in places(tree):
        if not draw(st.booleans()):
            continue
        *way, last = path
        node = document
        for name in way:
            node = node.setdefault(name, {})
        node[last] = f"open {path}"
        if is_secret:
            node[last] = draw(st.sampled_from([f"hush {path}", {"inside": f"hush {path}"}]))
            secrets[pointer_of(path)] = node[last]
    made = schema_of(tree)
    if "#/$defs/s" in json.dumps(made):
        made["$defs"] = {"s": {"writeOnly": True, "not": {"type": "null"}}}
    return made, document, secrets


@settings(max_examples=200, deadline=None)
@given(cases())
def test_a_document_is_split_and_merged_and_its_secrets_are_in_one_part_only(case: Any) -> None:
    given_schema, document, secrets = case
    compiled = ConfigSchema(given_schema)
    before = json.dumps(document)
    public, secret = compiled.split(document)
    assert secret == secrets
    assert compiled.secret_names(document) == tuple(sorted(secrets))
    assert "hush" not in json.dumps(public)
    assert compiled.merge(public, secret) == document
    assert json.dumps(document) == before
    assert compiled.problems(document) == ()
    assert compiled.findings(public, list(secret)).problems == ()


@given(st.lists(st.text(max_size=5), min_size=1, max_size=4))
def test_a_pointer_leads_to_its_path(path: list[str]) -> None:
    pointer = pointer_of(tuple(path))
    assert path_of(pointer) == tuple(path)
    assert canonical(pointer) == pointer
    if not pointer[1:].startswith("/"):
        assert canonical(pointer[1:]) == pointer
    assert shown((*path, 0)).count("/") == len(path) + 1


def test_a_secret_without_its_object_has_no_place() -> None:
    assert SLACK.merge({"channel": "x"}, {"/oauth/secret": 1}) == {"channel": "x", "oauth": {"secret": 1}}
    assert SLACK.merge({"oauth": "off"}, {"/oauth/secret": 1}) == {"oauth": "off"}
    assert "hush" not in repr(SLACK.split({"token": "hush", "channel": "hush"}))


# --- errors that carry nothing ---------------------------------------------------------------------------------------


def stumble(raised: BaseException) -> None:
    hush = "hush"
    try:
        raise KeyError(hush)
    except KeyError:
        raise raised  # noqa: B904  the context is the point


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (NotFound("It is gone.", remedy="Look elsewhere."), NotFound),
        (RuntimeError("hush"), ConfigInvalid),
        (KeyboardInterrupt(), KeyboardInterrupt),
    ],
)
def test_a_shielded_error_has_no_frames_of_the_work_and_nothing_behind_it(
    raised: BaseException, expected: type[BaseException]
) -> None:
    with pytest.raises(expected) as caught:
        shielded(lambda: stumble(raised))
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    frames = traceback.TracebackException.from_exception(error, capture_locals=True).stack
    assert "stumble" not in [frame.name for frame in frames]
    assert "hush" not in f"{error} {[frame.locals for frame in frames if frame.filename != __file__]}"
