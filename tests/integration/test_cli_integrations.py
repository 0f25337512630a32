"""``tierwright integrations``: settings and secrets on the command line, and their health."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from tests.support.cli import run, run_json, url_of
from tests.support.integrations import KEY_1, offer
from tierwright.integrations import Probes, ProbeTarget, TenantIntegrations
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
def sqlite_url(migrated_templates: Any, tmp_path: Path) -> str:
    """Return the URL of a SQLite database in which slack can be configured."""
    url = f"sqlite:///{shutil.copy(migrated_templates('sqlite'), tmp_path / 'cli.sqlite3')}"
    offer(engine := sa.create_engine(url))
    engine.dispose()
    return url


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
        ("--secret-file", f"bot_token={SECRET}"),
        ("--secret-file", "bot_token=/dev/null"),
        ("--secret-file", "bot_token=/dev/zero"),
        ("--secret-file", "a=-", "--secret-file", "b=-"),
        ("--secret-file", "a=-", "--secret", "/a"),
        ("--from", "-", "--secret-file", "a=-"),
        ("--secret", f"bot_token={SECRET}"),
        ("--secret-file", "bot_tokn=-"),
        ("--secret-file", "channel=-"),
        ("--forget", "no_such"),
        ("--from", "/no/such/file"),
        ("--from", "-"),
    ],
)
def test_what_is_given_wrongly_is_refused(sqlite_url: str, wrong: tuple[str, ...]) -> None:
    said = run("integrations", "configure", "acme", "slack", *wrong, url=sqlite_url, text=SECRET, exit_code=2).output
    assert SECRET not in said
    assert run_json("integrations", "list", "acme", url=sqlite_url) == {"integrations": []}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("-", '{"channel": "#json", "oauth": {"client": "c"}}'),
        ("-", "channel: '#yaml'\noauth: {client: c}\n"),
        ("settings.yaml", "{channel: '#yaml', oauth: {client: c}}"),
    ],
)
def test_settings_are_json_or_yaml(sqlite_url: str, name: str, text: str, tmp_path: Path) -> None:
    if name != "-":
        (tmp_path / name).write_text(text)
        name = str(tmp_path / name)
    run("integrations", "configure", "acme", "slack", "--from", name, url=sqlite_url, text=text)
    config = run_json("integrations", "show", "acme", "slack", url=sqlite_url)["config"]
    assert config["channel"] in ("#json", "#yaml")
    assert config["oauth"] == {"client": "c"}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        SECRET,
        f'{{"bot_token": "{SECRET}"',
        f'{{"bot_token": "{SECRET}", "bot_token": "{SECRET}"}}',
        f'{{"{SECRET}": NaN}}',
        f"bot_token: {SECRET}: x",
        f"{SECRET}: 1\n{SECRET}: 2",
        f"? [{SECRET}]\n: 1",
        f"bot_token: !!python/name:{SECRET} x",
        f"bot_token: *{SECRET}",
        f'{{"bot_token": "{SECRET}\\ud800"}}',
        f'{{"bot_token": "{SECRET}", "x": "{"x" * 2**20}"}}',
    ],
)
def test_a_document_that_cannot_be_read_is_not_repeated(sqlite_url: str, text: str) -> None:
    said = run("integrations", "configure", "acme", "slack", "--from", "-", url=sqlite_url, text=text, exit_code=2)
    assert SECRET not in said.output


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


def test_a_write_in_between_is_not_undone(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --from the stored settings stay; not those of a moment ago."""
    of = ("acme", "slack")
    run("integrations", "configure", *of, "--from", "-", url=sqlite_url, text='{"channel": "#old"}')
    asked = TenantIntegrations.get

    def overtaken(self: TenantIntegrations, *arguments: Any) -> Any:
        monkeypatch.setattr(TenantIntegrations, "get", asked)
        found = asked(self, *arguments)
        run("integrations", "configure", *of, "--from", "-", url=sqlite_url, text='{"channel": "#new"}')
        return found

    monkeypatch.setattr(TenantIntegrations, "get", overtaken)
    refused = run_json("integrations", "configure", *of, "--forget", "bot_token", url=sqlite_url, exit_code=1)
    assert refused["error"]["code"] == "config-changed"
    assert run_json("integrations", "show", *of, url=sqlite_url)["config"] == {"channel": "#new"}


#: Makes the terminal on standard input the process's own, and then becomes the command.
IN_A_TERMINAL = (
    "import os, sys; os.login_tty(0); os.execv(sys.executable, [sys.executable, '-m', 'tierwright', *sys.argv[1:]])"
)


def test_a_terminal_does_not_show_what_is_typed(sqlite_url: str, tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text(key_line("k1", KEY_1))
    ours, theirs = os.openpty()
    command = [
        sys.executable,
        "-c",
        IN_A_TERMINAL,
        "integrations",
        "configure",
        "acme",
        "slack",
        "--secret",
        "bot_token",
    ]
    environment = dict(os.environ, DATABASE_URL=sqlite_url, TIERWRIGHT_SECRETS_KEY_FILE=str(keys))
    run("integrations", "configure", "acme", "slack", "--from", "-", url=sqlite_url, text='{"channel": "#a"}')
    with subprocess.Popen(command, stdin=theirs, env=environment) as process:
        (late := threading.Timer(60, process.kill)).start()
        os.close(theirs)
        shown = _read_until(ours, "bot_token: ")
        os.write(ours, f"{SECRET}\n".encode())
        shown += _read_until(ours, None)
        assert process.wait() == 0, shown
        late.cancel()
    os.close(ours)
    assert "updated tenant integration acme/slack" in shown
    assert SECRET not in shown
    assert run_json("integrations", "show", "acme", "slack", url=sqlite_url)["secret_names"] == ["/bot_token"]


def _read_until(terminal: int, text: str | None) -> str:
    """Return what a terminal shows until there is this text; for None until nobody writes to it any more."""
    shown = b""
    while text is None or text.encode() not in shown:
        try:
            shown += (more := os.read(terminal, 4096))
        except OSError:  # so does Linux say that the other side is closed
            break
        if not more:
            break
    return shown.decode()


def test_without_a_terminal_nothing_is_typed_in_the_open(sqlite_url: str) -> None:
    command = [
        sys.executable,
        "-m",
        "tierwright",
        "integrations",
        "configure",
        "acme",
        "slack",
        "--secret",
        "bot_token",
    ]
    done = subprocess.run(
        command,
        input=f"{SECRET}\n",
        env=dict(os.environ, DATABASE_URL=sqlite_url),
        start_new_session=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "no terminal" in done.stderr
    assert SECRET not in done.stdout + done.stderr
