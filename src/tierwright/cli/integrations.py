"""``tierwright integrations``: what tenants have configured, and whether it works."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer
from sqlalchemy.orm import Session

from tierwright.cli import database, inputs, options, output, writing
from tierwright.cli.integration_settings import given_settings
from tierwright.cli.secrets import KeyFile, Provider, imported, keys_of
from tierwright.cli.writing import Work
from tierwright.errors import InvalidInput, NotFound, SecretsNotConfigured
from tierwright.integrations import (
    ConfigResult,
    HealthCheck,
    HealthReport,
    Probes,
    TenantIntegration,
    TenantIntegrations,
    check_health,
)
from tierwright.secrets.keys import KeyProvider
from tierwright.services.registry import Registry
from tierwright.services.transactions import run_in_transaction

app = typer.Typer(
    help="What tenants have configured for integrations (`integration`, without s, is the registry of them).",
    no_args_is_help=True,
    rich_markup_mode=None,
)

Key = Annotated[str, typer.Argument(metavar="INTEGRATION", help="The key of the integration.")]
Settings = Annotated[
    str | None, typer.Option("--from", metavar="FILE|-", help="A JSON or YAML object; - is standard input.")
]
Expected = Annotated[
    int | None, typer.Option("--expected-version", metavar="N", help="Only if the settings have this version; 0: none.")
]


@app.command("list")
def list_(
    tenant: options.Tenant, url: options.Url = None, schema: options.Schema = None, as_json: options.AsJson = False
) -> None:
    """List what TENANT has configured; secrets by name only, and without a key."""
    with output.reported_errors(as_json=as_json), database.reading_session(url, schema) as session:
        found = TenantIntegrations(session).list(tenant)
    if as_json:
        output.print_json({"integrations": [_as_dict(each) for each in found]})
        return
    for each in found:
        output.line(each.integration_key, _state(each), f"version {each.config_version}", widths=(24, 24))
    if not found:
        typer.echo("none", err=True)


@app.command()
def show(
    tenant: options.Tenant,
    integration: Key,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Show the settings of TENANT for INTEGRATION; secrets by name only, and without a key."""
    with output.reported_errors(as_json=as_json), database.reading_session(url, schema) as session:
        found = _as_dict(TenantIntegrations(session).get(tenant, integration))
    if as_json:
        output.print_json(found)
        return
    for name, value in found.items():
        if value is not None:
            output.line(name, output.literal(value) if isinstance(value, dict | list | bool) else value, widths=(20,))


@writing.command(app)
def configure(
    tenant: options.Tenant,
    integration: Key,
    from_: Settings = None,
    secret: Annotated[
        list[str] | None, typer.Option("--secret", metavar="NAME", help="Ask for this secret, unseen; repeat it.")
    ] = None,
    secret_file: Annotated[
        list[str] | None, typer.Option("--secret-file", metavar="NAME=FILE|-", help="Read a secret; repeat it.")
    ] = None,
    forget: Annotated[
        list[str] | None, typer.Option("--forget", metavar="NAME", help="Drop this secret; repeat it.")
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Drop all secrets that are not given, without opening them.")
    ] = False,
    expected_version: Expected = None,
    key_file: KeyFile = None,
    provider: Provider = None,
) -> Work:
    """Store settings and secrets of TENANT for INTEGRATION; what is not given stays as it is.

    The settings of --from are all settings: they take the place of the stored ones, except for the secrets. A secret
    is never an argument: others on the machine could read it there.
    """
    given = given_settings(from_, secret, secret_file)
    keys = _keys_if_any(key_file, provider)

    def work(registry: Registry) -> ConfigResult:
        given.refuse_unknown(registry.session, integration)
        calls = TenantIntegrations(registry.session, keys=keys)
        stored, version = _stored(calls, tenant, integration)
        # What stays as it is stored must be what is stored when it is written.
        expected = version if given.document is None and expected_version is None else expected_version
        return calls.configure(
            tenant,
            integration,
            given.over(stored),
            expected_version=expected,
            forget=forget or (),
            replace=replace,
        )

    return work


@writing.command(app)
def enable(tenant: options.Tenant, integration: Key, expected_version: Expected = None) -> Work:
    """Switch INTEGRATION on for TENANT, if it has the features and the settings that it needs."""
    return lambda registry: TenantIntegrations(registry.session).enable(
        tenant, integration, expected_version=expected_version
    )


@writing.command(app)
def disable(tenant: options.Tenant, integration: Key, expected_version: Expected = None) -> Work:
    """Switch INTEGRATION off for TENANT; settings and secrets stay."""
    return lambda registry: TenantIntegrations(registry.session).disable(
        tenant, integration, expected_version=expected_version
    )


@writing.command(app)
def remove(tenant: options.Tenant, integration: Key, expected_version: Expected = None) -> Work:
    """Delete settings and secrets of TENANT for INTEGRATION."""
    return lambda registry: TenantIntegrations(registry.session).remove(
        tenant, integration, expected_version=expected_version
    )


@app.command()
def reveal(
    tenant: options.Tenant,
    integration: Key,
    key_file: KeyFile = None,
    provider: Provider = None,
    actor: options.Actor = None,
    reason: options.Reason = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Print the secrets of TENANT for INTEGRATION; the history keeps who has seen them."""
    with output.reported_errors(as_json=as_json):
        keys, by = keys_of(key_file, provider), inputs.author(actor, reason)

        def revealed(session: Session) -> dict[str, Any]:
            by.attach(session)
            return dict(TenantIntegrations(session, keys=keys).reveal(tenant, integration))

        with database.writing(url, schema) as sessions:
            secrets = run_in_transaction(sessions, revealed)
    if as_json:
        output.print_json({"secrets": secrets})
        return
    for name, value in secrets.items():
        output.line(name, value if isinstance(value, str) else output.literal(value), widths=(24,))


@app.command()
def check(
    probes: Annotated[
        str, typer.Option("--probes", metavar="MODULE:NAME", help="The application's probes, a tierwright Probes.")
    ],
    tenant: Annotated[
        list[str] | None, typer.Option("--tenant", help="Of this tenant only; repeat it. All, unless given.")
    ] = None,
    integration: Annotated[
        list[str] | None, typer.Option("--integration", help="This integration only; repeat it.")
    ] = None,
    timeout: Annotated[float, typer.Option("--timeout", min=0.001, help="Seconds for each probe.")] = 10.0,
    concurrency: Annotated[int, typer.Option("--concurrency", min=1, help="How many run at a time.")] = 8,
    failures: Annotated[int, typer.Option("--failures", min=1, help="So many in a row make it unhealthy.")] = 3,
    recoveries: Annotated[int, typer.Option("--recoveries", min=1, help="So many in a row make it better.")] = 2,
    key_file: KeyFile = None,
    provider: Provider = None,
    url: options.Url = None,
    schema: options.Schema = None,
    as_json: options.AsJson = False,
) -> None:
    """Run the probes of the enabled integrations; exit code 1 if one is unhealthy or could not be checked."""
    with output.reported_errors(as_json=as_json):
        registered = imported(probes)
        if not isinstance(registered, Probes):
            raise InvalidInput(f"{probes!a} are no probes.", remedy="Name a tierwright.integrations.Probes.")
        keys = _keys_if_any(key_file, provider)
        with database.writing(url, schema) as sessions:
            report = check_health(
                sessions,
                registered,
                keys=keys,
                tenants=tenant or None,
                integrations=integration or None,
                timeout=timeout,
                concurrency=concurrency,
                failures=failures,
                recoveries=recoveries,
            )
    _print_checks(report, as_json)
    raise typer.Exit(0 if report.ok else output.REFUSED)


def _stored(calls: TenantIntegrations, tenant: str, integration: str) -> tuple[Mapping[str, Any], int]:
    """Return the public settings that are stored, and their version."""
    try:
        found = calls.get(tenant, integration)
    except NotFound:
        return {}, 0
    return found.config, found.config_version


def _keys_if_any(key_file: str | None, provider: str | None) -> KeyProvider | None:
    """Return the keys; None where none are named, because much can be done without."""
    try:
        return keys_of(key_file, provider)
    except SecretsNotConfigured:
        if key_file is not None:
            raise
        return None


def _print_checks(report: HealthReport, as_json: bool) -> None:
    if as_json:
        output.print_json({"ok": report.ok, "checks": [_check_as_dict(each) for each in report.checks]})
        return
    for each in report.checks:
        said = each.outcome.value if each.error is None else f"{each.outcome.value} ({each.error})"
        output.line(each.integration_key, each.tenant_id, each.after or "never checked", said, widths=(20, 24, 13))
    if not report.checks:
        typer.echo("nothing to check", err=True)


def _check_as_dict(check: HealthCheck) -> dict[str, Any]:
    return {
        "tenant": check.tenant_id,
        "integration": check.integration_key,
        "outcome": check.outcome.value,
        "error": check.error,
        "before": check.before,
        "after": check.after,
        "written": check.written,
        "superseded": check.superseded,
    }


def _as_dict(found: TenantIntegration) -> dict[str, Any]:
    names = ("integration_key", "config", "secret_names", "is_enabled", "config_version", "secret_version")
    more = ("health_status", "last_health_check", "created_by", "created_at", "updated_at")
    return {name: getattr(found, name) for name in (*names, *more)}


def _state(found: TenantIntegration) -> str:
    if not found.is_enabled:
        return "off"
    return f"on, {found.health_status or 'never checked'}"
