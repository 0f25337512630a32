"""Write the pages of docs/reference/ that follow from the code: the diagram, the tables, the errors, the calls.

Of decisions.md only the tables are written, between markers; the rest of that page is prose, and stays.

    python tools/write_reference.py

The test suite refuses pages that differ from what this writes, so run it after a change of tables, errors or API.
"""

from __future__ import annotations

import enum
import inspect
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import BaseModel
from sqlalchemy.dialects import postgresql, sqlite
from sqlmodel import Session, SQLModel

import tierwright
from tierwright import (
    Availability,
    Reason,
    Registry,
    Source,
    catalog,
    errors,
    integrations,
    migrations,
    rotation,
    secrets,
    tables,
)
from tierwright import audit as history
from tierwright.catalog import importers
from tierwright.contrib import openfeature_mapping
from tierwright.migrations.catalog import expected
from tierwright.services import audit, explanation, resources
from tierwright.services.registry import PurgeResult, WriteResult

FOLDER = Path(__file__).resolve().parent.parent / "docs" / "reference"
NOTICE = "<!-- Written by tools/write_reference.py; change the code and run it again, not this page. -->\n"

#: What a column's name does not say.
NOTES = {
    "feature_registry.default_value": "value document with `enabled` and a value",
    "feature_registry.value_schema": "JSON Schema of the value",
    "feature_registry.requires_setup": "a hint for people; decides nothing",
    "feature_registry.depends_on": "feature keys that must be granted too",
    "feature_registry.conflicts_with": "feature keys that must not be granted beside it",
    "feature_registry.is_deprecated": "a hint for people; decides nothing",
    "license_tier.rank": "of several licences, the tier of the highest rank speaks first",
    "license_tier.base_tier_id": "inherits what that tier grants",
    "license_tier.is_default": "for tenants without a valid licence; at most one tier",
    "license_tier.is_active": "false: closed to new tenants, honoured for those who hold it",
    "license_tier_features.feature_value": "value document",
    "tenant_license.license_key": "a billing system's subscription id fits",
    "tenant_license.starts_at": "NULL is unbounded; inclusive",
    "tenant_license.expires_at": "NULL is unbounded; exclusive",
    "tenant_feature_override.feature_value": "value document; may deny",
    "model_registry.input_price_per_1k": "exact: every digit comes back",
    "model_registry.output_price_per_1k": "exact: every digit comes back",
    "model_registry.imported": "what the importer last wrote",
    "component_registry.feature_key": "NULL is a public component",
    "component_registry.required_features": "feature keys needed besides",
    "integration_registry.config_schema": 'JSON Schema; `"writeOnly": true` marks a secret',
    "tenant_integration_configs.config": "what is not secret",
    "tenant_integration_configs.encrypted_config": "secrets, sealed for this row and version",
    "tenant_integration_configs.config_version": "moves with config, secrets and is_enabled; for optimistic locking",
    "tenant_integration_configs.secret_version": "moves with the secrets",
    "tenant_integration_configs.health_status": "healthy, degraded, unhealthy; NULL is never checked",
    "feature_audit_log.entity_id": "the natural key of what changed; no foreign key",
    "tierwright_state.version": "counts up with every write",
}

#: What each member of an enumeration means, in the order in which it applies.
MEANINGS: dict[enum.Enum, tuple[str, ...]] = {
    Reason.UNAVAILABLE: ("no", "the database cannot be read, and nothing fresh enough is known", "none"),
    Reason.FEATURE_NOT_FOUND: ("no", "the registry has no such feature, or this is not even a key", "none"),
    Reason.DISABLED: ("no", "the feature is retired: the kill switch", "none"),
    Reason.NOT_GRANTED: ("no", "the first source that speaks denies it (pass 1)", "any but none"),
    Reason.PREREQUISITE_NOT_MET: ("no", "something that it needs is not kept (pass 2, and 4)", "any but none"),
    Reason.CONFLICT: ("no", "a feature that excludes it is granted too (pass 3)", "any but none"),
    Reason.GRANTED: ("yes", "the first source that speaks enables it, and nothing takes it away", "any but none"),
    Source.OVERRIDE: ("the tenant's override of the feature, in its window", ""),
    Source.TIER: ("a tier for which the tenant has a valid licence", "that tier"),
    Source.BASE_TIER: ("a base of such a tier, near or far", "the base"),
    Source.DEFAULT_TIER: ("the default tier or a base of it, where no licence is valid", "the one that speaks"),
    Source.REGISTRY_DEFAULT: ("the feature's own default", ""),
    Source.NONE: ("no row was asked", ""),
    Availability.LOCKED: ("a feature that it needs is not granted; `blocked_by` names them", "all three"),
    Availability.NEEDS_CONFIGURATION: ("the tenant has no settings for it, or has switched it off", "integrations"),
    Availability.UNHEALTHY: ("its last health check said `unhealthy`; degraded is available", "integrations"),
    Availability.AVAILABLE: ("it can be used now", "all three"),
}


def main() -> None:
    """Write every page."""
    for name, write in PAGES.items():
        (FOLDER / name).write_text(write(), "utf-8")


def erd() -> str:
    """Return the page with the entity-relationship diagram."""
    lines = [f"# Entity-relationship diagram\n\n{NOTICE}"]
    lines.append(
        "Solid lines are foreign keys in the database, on SQLite and PostgreSQL alike. `feature_audit_log` has none: "
        "history outlives\nwhat it describes. Tenants belong to the application, so `tenant_id` has no parent here "
        "([a foreign key of your own](../howto/host.md#foreign-keys-between-your-tables-and-ours)).\n"
    )
    lines.append("```mermaid\nerDiagram")
    lines.extend(_relation(key) for table in _tables() for key in _sorted(table.foreign_key_constraints))
    for table in _tables():
        lines.append(f"    {table.name} {{")
        lines.extend(f"        {_entity_line(table, column)}" for column in table.columns)
        lines.append("    }")
    return "\n".join(lines) + "\n```\n"


def tables_page() -> str:
    """Return the page with every table, column, constraint and index."""
    lines = [f"# Tables and columns\n\n{NOTICE}"]
    lines.append(
        'A *value document* is `{"enabled": true, "value": 5}`, or `"unlimited": true` in place of the value '
        "(integer and number features only).\nTimestamps are aware and in UTC. Key columns sort in byte order on "
        "both databases.\n"
    )
    classes = {thing.__tablename__: thing for thing in vars(tables).values() if hasattr(thing, "__table__")}
    for table in _tables():
        found = classes[table.name]
        lines += [f"## {table.name}\n", f"`tierwright.tables.{found.__name__}`. {found.__doc__}\n"]
        lines += ["| column | SQLite | PostgreSQL | NULL | default | |", "|---|---|---|---|---|---|"]
        lines += [_column_line(table, column) for column in table.columns]
        lines += ["", "| constraint or index | definition |", "|---|---|"]
        lines += [f"| `{name}` | `{text}` |" for name, text in _objects(table)]
        lines.append("")
    return "\n".join(lines)


def errors_page() -> str:
    """Return the page with every error code."""
    lines = [f"# Error codes\n\n{NOTICE}"]
    lines.append(
        "Every error is a `tierwright.errors.TierwrightError` with `message`, `remedy`, `details` (facts for machines) "
        "and a stable `code`.\nCodes are covered by semantic versioning, messages are not. "
        "[What to do about each](../howto/operate.md#what-every-error-means) is in the operator's guide.\n"
    )
    lines += ["| code | class | meaning |", "|---|---|---|"]
    for depth, found in _error_tree(errors.TierwrightError, 0):
        meaning = (found.__doc__ or "").splitlines()[0]
        lines.append(f"| `{found.code}` | {'&emsp;' * depth}`{found.__name__}` | {meaning} |")
    return "\n".join(lines) + "\n"


def migrations_page() -> str:
    """Return the page with every public name of ``tierwright.migrations``."""
    lines = [f"# Migrations from Python\n\n{NOTICE}"]
    lines.append("Everything is imported from `tierwright.migrations`.\n")
    for name in sorted(migrations.__all__, key=str.lower):
        thing = getattr(migrations, name)
        if callable(thing):
            lines.append(_section(name, thing))
        else:
            lines.append(f"## {name}\n\n```text\n{_constant(name, thing)}\n```\n")
    return "\n".join(lines)


def entitlements_page() -> str:
    """Return the page with every public name of ``tierwright``, and what their methods return."""
    lines = [f"# Entitlements from Python\n\n{NOTICE}"]
    lines.append(
        "What has no other home below is imported from `tierwright`. `Registry` has [a page of its own](registry.md), "
        "and so do\n[errors](errors.md), [reasons, sources and availabilities](decisions.md), and "
        "[migrations](migrations.md).\n"
    )
    for name in tierwright.__all__:
        if name != "Registry":
            lines += _with_methods(name, getattr(tierwright, name))
    for thing in (
        explanation.Explanation,
        resources.Model,
        resources.Component,
        resources.Integration,
        audit.write_audit,
        audit.require_context,
    ):
        lines += _with_methods(thing.__name__, thing, home=thing.__module__)
    return "\n".join(lines)


def registry_page() -> str:
    """Return the page with every write."""
    lines = [f"# Registry: the writes\n\n{NOTICE}", _section("Registry", Registry)]
    registry = Registry(Session())  # nothing is asked of it
    for name, part in vars(registry).items():
        if not name.startswith("_"):
            lines += [f"## registry.{name}\n\n{(inspect.getdoc(type(part)) or '').partition('Args:')[0].strip()}\n"]
            lines += _methods(f"registry.{name}", type(part))
    lines += ["## registry.purge\n", *_methods("registry", Registry)]
    for result in (WriteResult, PurgeResult):
        lines.append(_section(result.__name__, result))
    return "\n".join(lines)


def catalog_page() -> str:
    """Return the page with every public name of ``tierwright.catalog``, and of its importers."""
    lines = [f"# Catalogue from Python\n\n{NOTICE}"]
    lines.append(
        "What has no other home below is imported from `tierwright.catalog`. "
        "[The catalogue as code](../howto/catalogue-as-code.md) shows it at\nwork, and describes the documents.\n"
    )
    for name in sorted(catalog.__all__, key=str.lower):
        thing = getattr(catalog, name)
        lines.append(_section(name, thing))
        lines += _methods(name, thing, "tierwright.catalog.") if inspect.isclass(thing) else ()
    for name in ("find", "names", "left_alone", "merge", "ImportResult", "Reported", "Importer"):
        lines += _with_methods(name, getattr(importers, name), home=importers.__name__)
    lines.append("## Fields of a document\n\nA `?` marks what may be left out.\n")
    found = catalog.schema()
    for section, entries in found["properties"].items():
        if "description" in entries:
            lines += [f"### {section}\n\n{entries['description']}\n", *_fields_of(entries, found["$defs"]), ""]
    return "\n".join(lines)


def integrations_page() -> str:
    """Return the page with every public name of ``tierwright.integrations``, and of the keys behind it."""
    lines = [f"# Integrations from Python\n\n{NOTICE}"]
    lines.append(
        "What has no other home below is imported from `tierwright.integrations`. Guides: "
        "[integrations](../howto/integrations.md), [keys and\nsecrets](../howto/secrets.md), "
        "[health](../howto/integration-health.md).\n"
    )
    for name in sorted(integrations.__all__, key=str.lower):
        lines += _with_methods(name, getattr(integrations, name))
    for module in (secrets, rotation):
        for name in sorted(module.__all__, key=str.lower):
            lines += _with_methods(name, getattr(module, name), home=module.__name__)
    return "\n".join(lines)


def audit_page() -> str:
    lines = [f"# The history from Python\n\n{NOTICE}"]
    lines.append("Imported from `tierwright.audit`. The guide: [the history of changes](../howto/audit.md).\n")
    for name in sorted(history.__all__, key=str.lower):
        lines += _with_methods(name, getattr(history, name))
    return "\n".join(lines)


def _fields_of(entries: Mapping[str, Any], definitions: Mapping[str, Any]) -> list[str]:
    inner = entries["additionalProperties"]
    while "$ref" not in inner:
        inner = inner["additionalProperties"]
    entry = definitions[inner["$ref"].rpartition("/")[2]]
    rows = []
    for name, field in entry["properties"].items():
        optional = "" if name in entry["required"] else "?"
        default = field.get("default")
        shown = "" if default is None else f"`{json.dumps(default)}`"
        rows.append((f"`{name}`{optional}", _kind(field, definitions), shown, field.get("description", "")))
    return _table(("field", "kind", "default", "meaning"), rows)


def _kind(field: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """Return what kind of value a field of a JSON Schema takes, in a few words."""
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        values = definitions[name].get("enum")
        return " ".join(f"`{value}`" for value in values) if values else "value"
    if "anyOf" in field:
        kinds = (_kind(each, definitions) for each in field["anyOf"] if each.get("type") != "null")
        return " or ".join(dict.fromkeys(kinds))
    if field.get("type") == "array":
        return "list of keys"
    if field.get("format"):
        return str(field["format"])
    names = {"string": "text", "boolean": "true or false", "object": "mapping", "integer": "whole number"}
    return names.get(field.get("type", ""), str(field.get("type", "anything")))


def decisions_page() -> str:
    """Return the page about decisions, with its tables written anew."""
    page = (FOLDER / "decisions.md").read_text("utf-8")
    for name, table in (
        ("reasons", _meanings(Reason, "reason", "enabled", "when", "sources")),
        ("sources", _meanings(Source, "source", "the row that spoke", "`tier_key`")),
        ("availability", _meanings(Availability, "availability", "when", "of")),
        ("openfeature", _openfeature()),
    ):
        begin, end = f"<!-- {name}: written by tools/write_reference.py -->\n", f"<!-- end of {name} -->"
        before, _, rest = page.partition(begin)
        page = before + begin + "\n" + "\n".join(table) + "\n\n" + end + rest.partition(end)[2]
    return page


def _meanings(kind: type[enum.Enum], *head: str) -> list[str]:
    rows = [(f"`{member.value}`", *MEANINGS[member]) for member in MEANINGS if isinstance(member, kind)]
    return _table(head, rows)


def _openfeature() -> list[str]:
    rows = []
    for reason in Reason:
        by_source: Mapping[Source, str] = {
            source: openfeature_mapping.REASONS[reason, source] for source in Source if source is not Source.NONE
        }
        code = openfeature_mapping.ERROR_CODES[reason]
        for name in dict.fromkeys(by_source.values()):
            sources = [f"`{source.value}`" for source, found in by_source.items() if found == name]
            shown = "any" if len(sources) == len(by_source) else ", ".join(sources)
            rows.append((f"`{reason.value}`", shown, f"`{name}`", f"`{code}`" if code else ""))
    return _table(("reason", "source", "OpenFeature's reason", "error code"), rows)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    return [f"| {' | '.join(cells)} |" for cells in (head, ("---",) * len(head), *rows)]


def _with_methods(name: str, thing: Any, home: str | None = None) -> list[str]:
    return [_section(name, thing, home), *(_methods(name, thing) if inspect.isclass(thing) else ())]


def _methods(owner: str, thing: type, home: str = "tierwright.") -> list[str]:
    """Return a section for each public method and property that is defined in ``home``, in the order of the classes."""
    names = dict.fromkeys(
        name
        for each in thing.__mro__
        if each.__module__.startswith(home)
        for name, method in vars(each).items()
        if isinstance(method, property) or inspect.isfunction(getattr(method, "__func__", method))
        if not name.startswith("_")
    )
    return [_section(f"{owner}.{name}", getattr(thing, name), level=3) for name in names]


def _section(name: str, thing: Any, home: str | None = None, level: int = 2) -> str:
    where = f"`{home}`\n\n" if home else ""
    if inspect.isclass(thing) and issubclass(thing, enum.Enum):
        return f"## {name}\n\n```text\n{inspect.getdoc(thing)}\n\n{_members(name, thing)}\n```\n"
    if isinstance(thing, property):
        result = str(inspect.signature(thing.fget or (lambda: None)).return_annotation).strip("'")
        return f"{'#' * level} {name}\n\n```text\n{name}: {result}\n\n{inspect.getdoc(thing)}\n```\n"
    call = ("async " if inspect.iscoroutinefunction(thing) else "") + name
    return f"{'#' * level} {name}\n\n{where}```text\n{call}{_signature(thing)}\n\n{inspect.getdoc(thing)}\n```\n"


def _members(name: str, kind: type[enum.Enum]) -> str:
    return "\n".join(f"{name}.{member.name} = {member.value!r}" for member in kind)


def _signature(thing: Any) -> str:
    if inspect.isclass(thing) and issubclass(thing, BaseModel):  # its annotations carry the validators along
        return _folded(f"({', '.join(thing.model_fields)})")
    if getattr(thing, "_is_protocol", False):
        return ""
    signature = re.sub(r"\btierwright\.[\w.]+\.(?=[A-Z])", "", str(inspect.signature(thing)))
    signature = re.sub(r"(: |-> )'([^']*)'", r"\1\2", signature)  # annotations are text, and repr() quotes them
    signature = re.sub(r"ForwardRef\('([^']*)'\)", r"\1", signature)  # of a named tuple's fields
    nested = r"\[(?:[^\[\]]|\[(?:[^\[\]]|\[[^\[\]]*\])*\])*\]"
    signature = re.sub(rf", _\w+: (?:[^,()\[\]]|{nested})*", "", signature)  # what is nobody's business
    signature = re.sub(r"<Required object at 0x[0-9a-f]+>", "...", signature)
    return _folded(re.sub(r"\(self(, )?", "(", signature))


def _constant(name: str, value: Any) -> str:
    if isinstance(value, tuple):
        return f"{name} = (\n" + "".join(f"    {item!r},\n" for item in value) + ")"
    return f"{name} = {value!r}"


def _folded(signature: str) -> str:
    if len(signature) < 100:
        return signature
    arguments, _, result = signature[1:].rpartition(")")
    parts = re.split(r", (?![^\[]*\])", arguments)
    return "(\n" + "".join(f"    {part},\n" for part in parts) + ")" + result


def _error_tree(found: type[errors.TierwrightError], depth: int) -> Iterator[tuple[int, type[errors.TierwrightError]]]:
    yield depth, found
    for child in found.__subclasses__():
        if child.__module__ == errors.__name__:
            yield from _error_tree(child, depth + 1)


def _tables() -> list[sa.Table]:
    return [SQLModel.metadata.tables[name] for name in tables.TABLE_NAMES]


def _sorted(items: Any) -> list[Any]:
    return sorted(items, key=lambda item: str(item.name))


def _relation(key: sa.ForeignKeyConstraint) -> str:
    parent = "|o" if any(column.nullable for column in key.columns) else "||"
    return f"    {key.referred_table.name} {parent}--o{{ {key.table.name} : {key.column_keys[0]}"


def _entity_line(table: sa.Table, column: sa.Column[Any]) -> str:
    unique = any(
        isinstance(item, sa.UniqueConstraint) and list(item.columns) == [column] for item in table.constraints
    ) or any(index.unique and list(index.columns) == [column] for index in table.indexes)
    marks = [("PK", column.primary_key), ("FK", bool(column.foreign_keys)), ("UK", unique)]
    keys = ", ".join(mark for mark, holds in marks if holds)
    kind = str(column.type.compile(postgresql.dialect())).split("(")[0].lower()  # type: ignore[no-untyped-call]
    return f"{kind.replace('timestamp with time zone', 'timestamptz')} {column.name} {keys}".rstrip()


def _column_line(table: sa.Table, column: sa.Column[Any]) -> str:
    default = column.server_default.arg if isinstance(column.server_default, sa.DefaultClause) else ""
    cells = [
        f"`{column.name}`",
        f"`{column.type.compile(sqlite.dialect())}`",
        f"`{column.type.compile(postgresql.dialect())}`",  # type: ignore[no-untyped-call]
        "yes" if column.nullable else "",
        f"`{default}`" if str(default) else "",
        NOTES.get(f"{table.name}.{column.name}", ""),
    ]
    return f"| {' | '.join(cells)} |"


def _objects(table: sa.Table) -> list[tuple[str, str]]:
    found = [(str(item.name), _constraint(item)) for item in table.constraints]
    found += [(str(index.name), _index(index)) for index in table.indexes]
    found += _of_one_dialect(table, {name for name, _ in found})
    return sorted(found)


def _of_one_dialect(table: sa.Table, known: set[str]) -> list[tuple[str, str]]:
    """Return the indexes that are no part of the metadata, as the chain's expectations have them."""
    return [
        (name, f"{shown} {text}")
        for dialect, shown in (("postgresql", "PostgreSQL only: INDEX USING"), ("sqlite", "SQLite only: INDEX"))
        for name, text in expected(dialect)[table.name]["indexes"].items()
        if name not in known
    ]


def _constraint(item: sa.Constraint) -> str:
    if isinstance(item, sa.ForeignKeyConstraint):
        (element,) = item.elements
        return f"FOREIGN KEY ({item.column_keys[0]}) REFERENCES {element.target_fullname} ON DELETE {item.ondelete}"
    if isinstance(item, sa.CheckConstraint):
        return f"CHECK ({item.sqltext})"
    assert isinstance(item, sa.PrimaryKeyConstraint | sa.UniqueConstraint)
    kind = "PRIMARY KEY" if isinstance(item, sa.PrimaryKeyConstraint) else "UNIQUE"
    return f"{kind} ({', '.join(item.columns.keys())})"


def _index(index: sa.Index) -> str:
    columns = ", ".join(str(item).partition(".")[2] for item in index.expressions)  # "table.column DESC"
    where = index.dialect_options["postgresql"]["where"]
    return f"{'UNIQUE ' if index.unique else ''}INDEX ({columns})" + (f" WHERE {where}" if where is not None else "")


PAGES: dict[str, Callable[[], str]] = {
    "erd.md": erd,
    "tables.md": tables_page,
    "errors.md": errors_page,
    "migrations.md": migrations_page,
    "entitlements.md": entitlements_page,
    "registry.md": registry_page,
    "catalog.md": catalog_page,
    "integrations.md": integrations_page,
    "audit.md": audit_page,
    "decisions.md": decisions_page,
}

if __name__ == "__main__":
    main()
