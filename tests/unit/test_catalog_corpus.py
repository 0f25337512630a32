"""Malformed documents: each is refused with one typed error that says where and what, soon, whatever it is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.catalog_documents import FULL
from tierwright.catalog import dump, load, parse
from tierwright.errors import DocumentInvalid

F = "features: {a.b: {feature_type: boolean, default_value: true}}\n"
I = "features: {a.b: {feature_type: integer, default_value: 1}}\n"  # noqa: E741
J = "features: {a.b: {feature_type: json, default_value: 1}}\n"
DEEP = 100_000


def tier(value: str, features: str = F) -> str:
    """Return a document whose tier gives a feature a value, in line 2."""
    return features + f"tiers: {{t: {{features: {{a.b: {value}}}}}}}\n"


def model(field: str) -> str:
    """Return a document with a model that has one more field, in line 2."""
    return F + f"models: {{p: {{m: {{model_type: chat, feature_key: a.b, {field}}}}}}}\n"


def feature(fields: str) -> str:
    """Return a document with one feature, in line 1."""
    return f"features: {{a.b: {{{fields}}}}}\n"


def features(**depends_on: str) -> str:
    """Return a document with features x.<name> that need others."""
    entries = (
        f"  x.{name}: {{feature_type: boolean, default_value: false, depends_on: [{needed}]}}\n"
        for name, needed in depends_on.items()
    )
    return "features:\n" + "".join(entries)


class Bad(NamedTuple):
    """A malformed document: its name with the ending of its format, and what the error says; line 0 is any."""

    name: str
    text: str | bytes
    says: str
    line: int | None = 1


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
MERGE_BOMB = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{l: *a{n - 1}, r: *a{n - 1}}}\n" for n in range(1, 40))
QUADRATIC = "a: &a [" + "x, " * 20_000 + "x]\nb: [" + "*a, " * 500 + "*a]\n"
IN_LIMITS = "features:\n  a.b:\n    feature_type: json\n    default_value: {enabled: true, value: &a [" + "1, " * 9000
IN_LIMITS += "1]}\ntiers: {t: {features: {a.b: [" + ", ".join(["*a"] * 200) + "]}}}\n"

CORPUS = [
    # The file itself
    Bad("empty.yaml", "", "it is empty"),
    Bad("empty.json", "", "it is empty"),
    Bad("empty.toml", "", "it is empty"),
    Bad("comment.yaml", "# nothing\n", "it is empty", 2),
    Bad("comment.toml", "# nothing\n", "it is empty"),
    Bad("spaces.json", " \n ", "it is empty", 2),
    Bad("null.yaml", "null", "the sections features"),
    Bad("null.json", "null", "the sections features"),
    Bad("list.yaml", "- features\n", "this is a list"),
    Bad("list.json", "[1]", "this is a list"),
    Bad("text.yaml", "hello", "this is text"),
    Bad("number.json", "12", "this is a number"),
    Bad("latin1.yaml", "features: {}\n# caf\xe9\n".encode("latin-1"), "not UTF-8", 2),
    Bad("latin1.json", '{"x": "caf\xe9"}'.encode("latin-1"), "not UTF-8"),
    Bad("latin1.toml", '\nx = "caf\xe9"'.encode("latin-1"), "not UTF-8", 2),
    Bad("utf16.yaml", "features: {}".encode("utf-16"), "not UTF-8"),
    Bad("overlong.yaml", b"features: {}\n# \xc0\xaf\n", "not UTF-8", 2),
    Bad("surrogate.yaml", b"tiers: {t: {name: '\xed\xa0\x80'}}", "not UTF-8"),
    Bad("cut.yaml", "tiers: {t: {name: 'é'}}".encode()[:-4], "not UTF-8"),
    Bad("nul.yaml", "tiers:\n  t: {name: 'a\0b'}", "not YAML", 2),
    Bad("nul.json", '{"tiers":\n{"t": {"name": "a\0b"}}}', "not JSON", 2),
    Bad("nul.toml", '[tiers.t]\nname = "a\0b"', "not TOML", 2),
    Bad("bell.yaml", "tiers:\n  t: {name: \a}", "not YAML", 2),
    Bad("large.yaml", b"#" * (33 * 2**20), "more than 33,554,432 bytes", None),
    Bad("binary.yaml", bytes(range(256)), "not UTF-8", 2),
    # Syntax
    Bad("cut-flow.yaml", "tiers: {t: {rank: 1", "not YAML", 0),
    Bad("cut-text.yaml", 'tiers: {t: {name: "Pro', "not YAML", 0),
    Bad("cut.json", '{"tiers": {"t": {"rank": 1', "not JSON"),
    Bad("cut-text.json", '{"tiers": {"t": {"name": "Pro', "not JSON"),
    Bad("cut.toml", "[tiers.t\n", "not TOML", 0),
    Bad("cut-text.toml", '[tiers.t]\nname = "Pro', "not TOML", 2),
    Bad("tab.yaml", "tiers:\n\tt: {}\n", "not YAML", 2),
    Bad("indent.yaml", "tiers:\n  t:\n    rank: 1\n   name: x\n", "not YAML", 0),
    Bad("colon.yaml", "tiers: {t: {name: a}}\nmodels\n", "not YAML", 0),
    Bad("colons.yaml", "a: b: c", "not YAML"),
    Bad("bracket.yaml", "tiers: ]", "not YAML"),
    Bad("two.yaml", "tiers: {}\n---\nmodels: {}\n", "a second document", 2),
    Bad("directive.yaml", "%YAML 9.9\n---\n{}\n", "not YAML", 0),
    Bad("comma.json", '{"tiers": {},}', "not JSON"),
    Bad("comment.json", "{} // x", "not JSON"),
    Bad("quotes.json", "{'tiers': {}}", "double quotes"),
    Bad("bare.json", "{tiers: {}}", "double quotes"),
    Bad("two.json", "{}\n{}", "something follows", 2),
    Bad("zero.json", '{"tiers": {"t": {"rank": 01}}}', "not JSON"),
    Bad("equals.toml", "tiers\n", "not TOML"),
    Bad("array.toml", "[[tiers]]\n[tiers]\n", "not TOML", 2),
    # Keys
    Bad("twice.yaml", "tiers:\n  t: {}\n  t: {}\n", "twice (first in line 2)", 3),
    Bad("twice-top.yaml", "tiers: {}\ntiers: {}\n", "twice (first in line 1)", 2),
    Bad("twice-quoted.yaml", "tiers: {t: {rank: 1, 'rank': 2}}", "twice"),
    Bad("twice.json", '{"tiers": {"t": {"rank": 1,\n "rank": 2}}}', "twice (first in line 1)", 2),
    Bad("twice-escaped.json", '{"tiers": {}, "\\u0074iers": {}}', "twice"),
    Bad("twice.toml", "[tiers.t]\nrank = 1\nrank = 2\n", "twice", 3),
    Bad("twice-table.toml", "[tiers.t]\n[tiers.t]\n", "twice", 2),
    Bad("merge-twice.yaml", "tiers: {a: &a {rank: 1}, b: {<<: *a, <<: *a}}", "<< is there twice"),
    Bad("merge-text.yaml", "tiers: {t: {<<: name}}", "<< merges mappings"),
    Bad("key-bool.yaml", "tiers:\n  true: {}\n", "quote it", 2),
    Bad("key-no.yaml", "tiers:\n  no: {}\n", "quote it", 2),
    Bad("key-number.yaml", "models: {p: {\n  4: {}}}", "quote it", 2),
    Bad("key-version.yaml", "models: {p: {4.1: {}}}", "quote it"),
    Bad("key-date.yaml", "models: {p: {2026-01-01: {}}}", "quote it"),
    Bad("key-null.yaml", "tiers: {~: {}}", "quote it"),
    Bad("key-empty.yaml", "tiers:\n  ?\n  : {}\n", "quote it", 2),
    Bad("key-list.yaml", "tiers:\n  ? [a]\n  : {}\n", "a key is text", 2),
    Bad("key-alias.yaml", "tiers: {a: &x name}\nmodels: {*x : {}}", "a key is text", 2),
    Bad("section.yaml", "tier: {}\n", "did you mean 'tiers'"),
    Bad("section.toml", "[feature]\n", "did you mean 'features'", None),
    Bad("section-far.json", '{"billing": {}}', "there are features, tiers"),
    Bad("field.yaml", "tiers:\n  t:\n    defualt: true\n", "there is no such field", 3),
    Bad("field-near.yaml", model("suports_tools: true"), "did you mean 'supports_tools'", 2),
    Bad("feature-key.yaml", "features: {canvas: {feature_type: boolean, default_value: true}}", "two or more parts"),
    Bad("feature-key-case.yaml", "features: {A.b: {feature_type: boolean, default_value: true}}", "a-z"),
    Bad("feature-key-long.yaml", f"features: {{a.{'b' * 300}: {{feature_type: boolean, default_value: 1}}}}", "255"),
    Bad("tier-key.yaml", "tiers: {Pro Plus: {}}", "a-z"),
    Bad("tier-key-newline.yaml", 'tiers: {"pro\\n": {}}', "a-z"),
    Bad("integration-key.yaml", F + f"integrations: {{{'k' * 101}: {{category: c, feature_key: a.b}}}}", "100", 2),
    Bad("model-id.yaml", F + "models: {p: {' m': {model_type: chat, feature_key: a.b}}}", "white space", 2),
    Bad("provider.yaml", "models: {'': {}}", "at least 1"),
    # Aliases, tags, depth, size
    Bad("bomb.yaml", BOMB, "more than 2,000,000 parts", 0),
    Bad("bomb-maps.yaml", MERGE_BOMB, "more than 2,000,000 parts", 0),
    Bad("bomb-wide.yaml", QUADRATIC, "more than 2,000,000 parts", 2),
    Bad("bomb-in-limits.yaml", IN_LIMITS, "65536 bytes", 5),
    Bad("alias-self.yaml", "tiers: &t {t: *t}", "refers to itself"),
    Bad("alias-unknown.yaml", "tiers: *nothing", "no anchor"),
    Bad("alias-deep.yaml", "a: &a " + "[" * 40 + "]" * 40 + "\nb: " + "[" * 40 + "*a" + "]" * 40, "deeper", 2),
    Bad("tag-python.yaml", "tiers: !!python/object/apply:os.system ['true']", "tag"),
    Bad("tag-name.yaml", "tiers: !!python/name:os.system x", "tag"),
    Bad("tag-own.yaml", "tiers: !secret x", "tag"),
    Bad("tag-int.yaml", "tiers: {t: {rank: !!int '1'}}", "tag"),
    Bad("tag-binary.yaml", "tiers: {t: {name: !!binary aGk=}}", "tag"),
    Bad("deep-maps.yaml", "{a: " * DEEP, "deeper than 64"),
    Bad("deep-blocks.yaml", "- " * DEEP, "deeper than 64"),
    Bad("deep-lines.yaml", "".join(" " * n + "a:\n" for n in range(500)), "deeper than 64", 65),
    Bad("deep.json", "[" * DEEP, "deeper than 64"),
    Bad("deep-maps.json", '{"a":' * DEEP, "deeper than 64"),
    Bad("deep.toml", "a = " + "[" * DEEP, "deeper than 64", None),
    Bad("deep-tables.toml", "a = " + "{a = " * DEEP, "deeper than 64", None),
    Bad("deep-keys.toml", ".".join("a" * DEEP) + " = 1", "deeper than 64"),
    Bad("deep-value.yaml", tier("[" * 40 + "]" * 40, J), "deeper than 32", 2),
    Bad("value-large.yaml", tier("'" + "x" * 70_000 + "'", J), "bytes", 2),
    # Numbers
    Bad("digits.yaml", "tiers: {t: {rank: " + "9" * 5000 + "}}", "1,000 digits"),
    Bad("digits.json", '{"tiers": {"t": {"rank": ' + "9" * 5000 + "}}}", "1,000 digits"),
    Bad("digits.toml", "[tiers.t]\nrank = " + "9" * 5000, "1,000 digits", None),
    Bad("digits-price.yaml", model("input_price_per_1k: 0." + "1" * 5000), "1,000 digits", 2),
    Bad("digits-quoted.yaml", model(f"input_price_per_1k: '{'1' * 5000}'"), "1,000 digits", 2),
    Bad("exponent.yaml", tier("1e999", feature("feature_type: number, default_value: 1")), "not finite", 2),
    Bad("exponent.json", '{"tiers": {"t": {"features": {"a.b": 1e999}}}}', "not finite"),
    Bad("exponent-price.yaml", model("input_price_per_1k: 1e9999"), "1,000 digits", 2),
    Bad("exponent-long.yaml", model(f"input_price_per_1k: 1e{'9' * 30}"), "1,000 digits", 2),
    Bad("beyond.yaml", tier("9007199254740992", I), "2**53", 2),
    Bad("nan.yaml", tier(".nan", J), "NaN", 2),
    Bad("infinity.yaml", tier("-.INF", J), "NaN", 2),
    Bad("nan.json", '{"tiers": {"t": {"features": {"a.b": NaN}}}}', "NaN"),
    Bad("infinity.json", '{"tiers": {"t": {"features": {"a.b": -Infinity}}}}', "NaN"),
    Bad("nan.toml", '[tiers.t.features]\n"a.b" = nan\n', "NaN", None),
    Bad("infinity.toml", "[models.p.m]\ninput_price_per_1k = inf\n", "NaN", None),
    Bad("negative-price.yaml", model("input_price_per_1k: -0.1"), "not negative", 2),
    Bad("price-text.yaml", model("input_price_per_1k: cheap"), "not a decimal", 2),
    Bad("price-bool.yaml", model("input_price_per_1k: true"), "not an exact decimal", 2),
    Bad("rank-large.yaml", "tiers: {t: {rank: 2147483648}}", "2147483647"),
    Bad("tokens-negative.yaml", model("max_tokens: -1"), "greater than or equal to 0", 2),
    Bad("octal.yaml", "tiers: {t: {rank: 012}}", "do not agree"),
    Bad("underscore.yaml", "tiers: {t: {rank: 1_000}}", "do not agree"),
    Bad("sexagesimal.yaml", tier("12:30", J), "do not agree", 2),
    Bad("binary-number.yaml", tier("0b11", J), "do not agree", 2),
    # Text that YAML reads as something else
    Bad("no.yaml", tier("no", J), "write false, or quote it", 2),
    Bad("on.yaml", "tiers: {t: {is_default: on}}", "write true, or quote it"),
    Bad("name-number.yaml", "tiers: {t: {name: 12}}", "quote it"),
    Bad("name-version.yaml", "tiers: {t: {name: 1.10}}", "quote it"),
    Bad("name-bool.yaml", "tiers: {t: {name: true}}", "quote it"),
    Bad("name-date.yaml", "tiers: {t: {name: 2026-01-01}}", "quote it"),
    Bad("name-null.yaml", "tiers: {t: {name: null}}", "text is expected"),
    Bad("value-date.yaml", tier("2026-01-01", J), "date is not JSON", 2),
    Bad("value-time.yaml", tier("2026-01-01 10:00:00", J), "do not agree", 2),
    Bad("value-time.toml", '[tiers.t.features]\n"a.b" = 10:00:00\n', "time is not JSON", None),
    Bad("date.yaml", model("deprecation_date: 2026-02-30"), "no such day", 2),
    Bad("date-text.yaml", model("deprecation_date: soon"), "date", 2),
    Bad("date-number.yaml", model("deprecation_date: 20260101"), "not a date", 2),
    Bad("surrogate.json", '{"tiers": {"t":\n {"name": "\\ud800"}}}', "surrogate", 2),
    Bad("surrogate-key.json", '{"models": {"\\udfff": {}}}', "surrogate"),
    Bad("nul-escaped.json", '{"tiers": {"t": {"name": "\\u0000"}}}', "NUL"),
    Bad("nul-escaped.yaml", tier('"a\\0"', J), "NUL", 2),
    # Types and required fields
    Bad("section-null.yaml", "tiers:\n", "a mapping is expected"),
    Bad("section-list.yaml", "tiers: [free, pro]", "a mapping is expected"),
    Bad("entry-null.yaml", "tiers:\n  free:\n", "a mapping is expected", 2),
    Bad("entry-text.yaml", "tiers: {free: Free}", "a mapping is expected"),
    Bad("rank-text.yaml", "tiers: {t: {rank: '1'}}", "a whole number is expected"),
    Bad("rank-float.yaml", "tiers: {t: {rank: 1.0}}", "a whole number is expected"),
    Bad("rank-bool.yaml", "tiers: {t: {rank: true}}", "a whole number is expected"),
    Bad("flag-text.yaml", "tiers: {t: {is_active: 'true'}}", "true or false is expected"),
    Bad("flag-number.json", '{"tiers": {"t": {"is_active": 1}}}', "true or false is expected"),
    Bad("list-text.yaml", feature("feature_type: boolean, default_value: true, depends_on: a.c"), "a list is expected"),
    Bad("list-number.yaml", feature("feature_type: boolean, default_value: true, depends_on: [1]"), "text is expected"),
    Bad("type.yaml", feature("feature_type: bool, default_value: true"), "boolean"),
    Bad("type-missing.yaml", feature("default_value: true"), "this field is required"),
    Bad("default-missing.yaml", feature("feature_type: boolean"), "this field is required"),
    Bad("default-null.yaml", feature("feature_type: json, default_value: "), "there is no value"),
    Bad("default-incomplete.yaml", feature("feature_type: integer, default_value: false"), "needs a value"),
    Bad("default-type.yaml", feature("feature_type: integer, default_value: many"), "cannot have a str"),
    Bad(
        "default-unlimited.yaml",
        feature("feature_type: string, default_value: {enabled: true, unlimited: true}"),
        "no limit",
    ),
    Bad("schema-text.yaml", feature("feature_type: boolean, default_value: true, value_schema: x"), "JSON object"),
    Bad("schema-wrong.yaml", feature("feature_type: integer, default_value: 1, value_schema: {type: int}"), "usable"),
    Bad(
        "schema-remote.yaml",
        feature("feature_type: json, default_value: 1, value_schema: {$ref: 'http://x'}"),
        "fetched",
    ),
    Bad("url.yaml", feature("feature_type: boolean, default_value: true, help_url: 'javascript:x'"), "http"),
    Bad("model-missing.yaml", "models: {p: {m: {model_type: chat}}}", "this field is required"),
    Bad("models-flat.yaml", F + "models: {m: {model_type: chat, feature_key: a.b}}", "a mapping is expected", 2),
    Bad("imported.yaml", model("imported: [1]"), "JSON object", 2),
    Bad("integration-missing.yaml", "integrations: {slack: {category: chat}}", "this field is required"),
    Bad(
        "config-schema.yaml",
        F + "integrations: {s: {category: c, feature_key: a.b, config_schema: {type: 5}}}",
        "usable",
        2,
    ),
    # What contradicts itself
    Bad("tier-value-type.yaml", tier("many", I), "cannot have a str", 2),
    Bad("tier-value-bool.yaml", tier("{enabled: true, value: true}", I), "cannot have a bool", 2),
    Bad("tier-value-null.yaml", tier("", J), "there is no value", 2),
    Bad("tier-value-half.yaml", tier("{unlimited: true}", I), "'enabled' is missing", 2),
    Bad("tier-value-both.yaml", tier("{enabled: true, value: 1, unlimited: true}", I), "in place of a value", 2),
    Bad("tier-value-more.yaml", tier("{enabled: true, valeu: 1}", I), "unknown keys: valeu", 2),
    Bad("tier-value-enabled.yaml", tier("{enabled: 1}", I), "true or false", 2),
    Bad("tier-value-unlimited.yaml", tier("{enabled: true, unlimited: true}", F), "no limit", 2),
    Bad(
        "tier-value-schema.yaml",
        tier("1", feature("feature_type: integer, default_value: 5, value_schema: {minimum: 2}")),
        "minimum",
        2,
    ),
    Bad(
        "default-schema.yaml", feature("feature_type: integer, default_value: 1, value_schema: {minimum: 2}"), "minimum"
    ),
    Bad("unknown-feature.yaml", F + "tiers: {t: {features: {a.c: true}}}", "there is no feature a.c", 2),
    Bad("unknown-near.yaml", features(canvas="x.canvsa", canvsaa=""), "did you mean 'x.canvsaa'", 2),
    Bad("unknown-conflict.yaml", feature("feature_type: boolean, default_value: true, conflicts_with: [a.c]"), "a.c"),
    Bad("unknown-base.yaml", "tiers:\n  pro: {base: fre}\n  free: {}\n", "did you mean 'free'", 2),
    Bad("unknown-model.yaml", "models: {p: {m: {model_type: chat, feature_key: a.b}}}", "no feature a.b"),
    Bad("unknown-component.yaml", "components: {c: {category: x, required_features: [a.b]}}", "no feature a.b"),
    Bad("unknown-integration.yaml", "integrations: {s: {category: x, feature_key: a.b}}", "no feature a.b"),
    Bad("unknown.toml", "[models.p.m]\nmodel_type = 'chat'\nfeature_key = 'a.b'\n", "no feature a.b", None),
    Bad("self.yaml", features(a="x.a"), "run in a circle: x.a → x.a", 2),
    Bad("self-conflict.yaml", feature("feature_type: boolean, default_value: true, conflicts_with: [a.b]"), "itself"),
    Bad("circle.yaml", features(a="x.b", b="x.c", c="x.a"), "x.a → x.b → x.c → x.a", 2),
    Bad("circle.json", json.dumps({"tiers": {"a": {"base": "b"}, "b": {"base": "a"}}}), "a → b → a"),
    Bad("base-self.yaml", "tiers:\n  a: {base: a}\n", "a → a", 2),
    Bad("base-circle.yaml", "tiers:\n  a: {base: b}\n  b: {base: c}\n  c: {base: a}\n", "a → b → c → a", 2),
    Bad("defaults.yaml", "tiers:\n  a: {is_default: true}\n  b: {is_default: true}\n", "a is the default already", 3),
    Bad("repeated.yaml", features(a="x.b, x.b", b=""), "named twice", 2),
    Bad(
        "one-key-twice.yaml",
        "features: {m.a: {feature_type: boolean, default_value: false}}\nmodels:\n"
        "  a/b: {c: {model_type: chat, feature_key: m.a}}\n  a: {b/c: {model_type: chat, feature_key: m.a}}\n",
        "a/b/c is also a model of the provider",
        4,
    ),
    Bad(
        "needed-and-excluded.yaml",
        "features:\n  a.a: {feature_type: boolean, default_value: false}\n  a.b: {feature_type: boolean, "
        "default_value: false, depends_on: [a.a], conflicts_with: [a.a]}\n",
        "a conflict as well",
        3,
    ),
    Bad(
        "broken.yaml", features(a="x.b", b="") + "tiers: {t: {features: {x.a: true}}}", "without what it needs: x.b", 4
    ),
    Bad(
        "broken-by-base.yaml",
        features(a="x.b", b="")
        + "tiers:\n  t: {features: {x.a: true, x.b: true}}\n  u: {base: t, features: {x.b: false}}\n",
        "tiers.u.features: the tier would grant x.a without what it needs: x.b",
        6,
    ),
    Bad(
        "conflict.yaml",
        "features:\n  a.a: {feature_type: boolean, default_value: false}\n  a.b: {feature_type: boolean, "
        "default_value: false, conflicts_with: [a.a]}\ntiers: {t: {features: {a.a: true, a.b: true}}}\n",
        "exclude each other",
        4,
    ),
]


def test_the_corpus_is_large_and_without_repeats() -> None:
    assert len(CORPUS) >= 150
    assert len({bad.name for bad in CORPUS}) == len(CORPUS)


@pytest.mark.parametrize("bad", CORPUS, ids=lambda bad: bad.name)
def test_a_malformed_document_is_refused_at_its_place(bad: Bad, tmp_path: Path) -> None:
    path = tmp_path / bad.name
    path.write_bytes(bad.text if isinstance(bad.text, bytes) else bad.text.encode())
    start = time.perf_counter()
    with pytest.raises(DocumentInvalid) as raised:
        load(path)
    assert time.perf_counter() - start < 20, "a bomb takes hours; everything else takes milliseconds"
    problems = raised.value.details["problems"]
    assert {problem["file"] for problem in problems} == {str(path)}
    assert bad.says in raised.value.message
    about = next(problem for problem in problems if bad.says.rpartition(": ")[2] in problem["problem"])
    assert about["line"] == bad.line or (bad.line == 0 and about["line"] > 0)
    assert (about["column"] is None) == (bad.line is None)
    assert len(raised.value.message) < 12_000
    str(raised.value).encode()  # printable anywhere
    json.dumps(raised.value.details)


def test_deep_lists_are_refused_by_whoever_notices_first(tmp_path: Path) -> None:
    """Newer versions of libyaml have a limit of their own, and read ahead."""
    path = tmp_path / "deep-lists.yaml"
    path.write_text("[" * DEEP)
    with pytest.raises(DocumentInvalid, match=r"nesting|deeper than 64"):
        load(path)


@pytest.mark.parametrize("make", ["missing", "empty folder", "folder of one bad", "unreadable name"])
def test_a_path_without_a_document_is_refused(make: str, tmp_path: Path) -> None:
    path = tmp_path / {"missing": "missing.yaml", "unreadable name": "a\0b.yaml"}.get(make, "")
    if make == "folder of one bad":
        (tmp_path / "a.yaml").write_text("tiers: {a: {}}")
        (tmp_path / "b.yaml").write_text("tiers: {b: {rank: x}}\n")
    with pytest.raises(DocumentInvalid) as raised:
        load(path)
    (problem,) = raised.value.details["problems"]
    assert problem["file"].startswith(str(tmp_path))
    assert problem["problem"]


def refused_or_read(text: bytes, format: Any) -> None:
    """Parse a text, which may be refused with problems that have a description, and with nothing else."""
    try:
        parse(text, format)
    except DocumentInvalid as error:
        assert all(problem["problem"] and problem["file"] == "<text>" for problem in error.details["problems"])  # noqa: PT017
        str(error).encode()


@pytest.mark.parametrize("format", ["yaml", "json"])
def test_a_truncated_document_never_raises_anything_else(format: str) -> None:
    text = (FULL if format == "yaml" else dump(parse(FULL), "json")).encode()
    for cut in range(0, len(text), 5):
        refused_or_read(text[:cut], format)


TOKENS = st.sampled_from(
    [
        "&",
        "*",
        "<<",
        "!",
        "!!str",
        "|",
        ">",
        "-",
        "?",
        ":",
        ",",
        "[",
        "]",
        "{",
        "}",
        "'",
        '"',
        "#",
        "%",
        "@",
        "`",
        "~",
        "no",
        "1e999",
        ".nan",
        "012",
        "2026-01-01",
        "null",
        "\t",
        "\n",
        "\r",
        "\x00",
        "\x85",
        "\ufeff",
        "é",
        "[]",
    ]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(0, len(FULL)), st.integers(0, 5), TOKENS), min_size=1, max_size=4))
def test_a_garbled_document_never_raises_anything_else(edits: list[tuple[int, int, str]]) -> None:
    text = FULL
    for at, removed, token in edits:
        text = text[:at] + token + text[at + removed :]
    refused_or_read(text.encode(), "yaml")


WORDS = st.sampled_from(
    ["features", "tiers", "models", "a.b", "base", "enabled", "value", "default_value", "feature_type"]
)
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["json", "chat"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(WORDS | st.text(max_size=3), inner, max_size=4),
    max_leaves=15,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(WORDS, st.dictionaries(WORDS, ANYTHING, max_size=3), max_size=3) | ANYTHING)
def test_no_json_raises_anything_else(content: Any) -> None:
    refused_or_read(json.dumps(content).encode(), "json")
    refused_or_read(json.dumps(content).encode(), "yaml")
