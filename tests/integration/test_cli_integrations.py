"""``tierwright integrations``: settings and secrets on the command line, and their health."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy.engine import Engine

from tests.support.cli import run, run_json, url_of
from tests.support.integrations import KEY_1, offer
from tierwright.integrations import Probes, ProbeTarget
from tierwright.secrets.key_text import key_line
from tierwright.types import HealthStatus

SECRET = "sentinel-cli"
PROBES = Probes()
NO_PROBES = 7


@PROBES.register("slack")
def probe(target: ProbeTarget) -> HealthStatus | None:
    """Look at the token."""
    return None if target.secrets()["bot_token"] == SECRET else HealthStatus.UNHEALTHY


@pytest.fixture
def url(migrated_engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a database in which slack can be configured; the process has the key."""
    offer(migrated_engine)
    keys = tmp_path / "keys"
    keys.write_text(key_line("k1", KEY_1))
    monkeypatch.setenv("TIERWRIGHT_SECRETS_KEY_FILE", str(keys))
    return url_of(migrated_engine)


@pytest.fixture
def settings(tmp_path: Path) -> str:
    """Return a file with the public settings."""
    path = tmp_path / "settings.json"
    path.write_text('{"channel": "#alerts"}')
    return str(path)


def test_configure_show_enable_reveal_and_remove(url: str, settings: str, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text(SECRET + "\n")
    of = ("acme", "slack")
    done = run("integrations", "configure", *of, "--from", settings, "--secret-file", f"bot_token={token}", url=url)
    assert "created tenant integration acme/slack" in done.output
    shown = run_json("integrations", "show", *of, url=url)
    assert (shown["config"], shown["secret_names"]) == ({"channel": "#alerts"}, ["/bot_token"])
    run("integrations", "enable", *of, url=url)
    assert "on, never checked" in run("integrations", "list", "acme", url=url).output
    assert SECRET not in done.output + str(shown) + run("integrations", "show", *of, url=url).output
    revealed = run_json("integrations", "reveal", *of, "--reason", "ticket 7", url=url)
    assert revealed == {"secrets": {"/bot_token": SECRET}}
    assert SECRET in run("integrations", "reveal", *of, url=url).output
    run("integrations", "disable", *of, "--expected-version", "1", url=url, exit_code=1)
    run("integrations", "disable", *of, "--expected-version", "2", url=url)
    run("integrations", "remove", *of, url=url)
    assert run_json("integrations", "list", "acme", url=url) == {"integrations": []}
    run("integrations", "show", *of, url=url, exit_code=1)


def test_a_secret_is_typed_unseen_or_read_from_standard_input(url: str, settings: str) -> None:
    of = ("acme", "slack", "--from", settings)
    typed = run("integrations", "configure", *of, "--secret", "bot_token", url=url, text=f"{SECRET}\n")
    assert SECRET not in typed.output
    piped = run("integrations", "configure", *of, "--secret-file", "oauth/client_secret=-", url=url, text=SECRET)
    assert SECRET not in piped.output
    found = run_json("integrations", "reveal", "acme", "slack", url=url)["secrets"]
    assert found == {"/bot_token": SECRET, "/oauth/client_secret": SECRET}
    run("integrations", "configure", "acme", "slack", "--forget", "bot_token", url=url)
    assert run_json("integrations", "show", "acme", "slack", url=url)["config"]["channel"] == "#alerts", "it stays"
    assert list(run_json("integrations", "reveal", "acme", "slack", url=url)["secrets"]) == ["/oauth/client_secret"]


@pytest.mark.parametrize(
    "wrong",
    [
        ("--secret-file", "bot_token"),
        ("--secret-file", "bot_token=/no/such/file"),
        ("--secret-file", "a=-", "--secret-file", "b=-"),
        ("--from", "-", "--secret-file", "a=-"),
        ("--secret-file", "a=/dev/null", "--secret-file", "/a=/dev/null"),
        ("--forget", "no_such"),
        ("--from", "/no/such/file"),
    ],
)
def test_what_is_given_wrongly_is_refused(url: str, wrong: tuple[str, ...]) -> None:
    run("integrations", "configure", "acme", "slack", *wrong, url=url, text=SECRET, exit_code=2)


def test_what_does_not_fit_is_refused_without_its_values(url: str) -> None:
    document = f'{{"channel": 5, "bot_token": "{SECRET}"}}'
    said = run("integrations", "configure", "acme", "slack", "--from", "-", url=url, text=document, exit_code=2)
    assert "/channel" in said.output
    assert SECRET not in said.output


def test_health_is_checked_by_the_probes_of_the_application(
    url: str, settings: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = f"{__name__}:PROBES"
    of = ("acme", "slack")
    run("integrations", "configure", *of, "--from", settings, "--secret-file", "bot_token=-", url=url, text=SECRET)
    assert "nothing to check" in run("integrations", "check", "--probes", probes, url=url).output
    run("integrations", "enable", *of, url=url)
    found = run_json("integrations", "check", "--probes", probes, url=url)
    assert [(check["tenant"], check["after"], check["written"]) for check in found["checks"]] == [
        ("acme", "healthy", True)
    ]
    assert "healthy" in run("integrations", "check", "--probes", probes, "--tenant", "acme", url=url).output
    monkeypatch.delenv("TIERWRIGHT_SECRETS_KEY_FILE")
    without = run("integrations", "check", "--probes", probes, url=url, exit_code=1).output
    assert "SecretsNotConfigured" in without
    for wrong in (f"{__name__}:NO_PROBES", "no_such:x"):
        run("integrations", "check", "--probes", wrong, url=url, exit_code=2)
    run("integrations", "reveal", *of, url=url, exit_code=1)
