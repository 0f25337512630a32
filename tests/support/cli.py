"""Running the command in this process, and a catalogue to run it on."""

from __future__ import annotations

import functools
import json
from datetime import timedelta
from typing import Any

import typer.main
import typer.testing
from sqlalchemy.engine import Engine
from sqlmodel import Session
from typer.testing import CliRunner, Result

from tests.support.registry import OFF, ON, feature, integer, seed, tier, writer
from tierwright.cli.app import app
from tierwright.types import utc_now

# Typer's runner inspects all seventy commands again for each run, which takes longer than most of them.
typer.testing._get_command = functools.cache(typer.main.get_command)


def invoke(*arguments: str, url: str | None = None, text: str | None = None) -> Result:
    """Run the command, however it ends."""
    given = [*arguments, *(["--url", url] if url else [])]
    return CliRunner().invoke(app, given, input=text)


def run(*arguments: str, url: str | None = None, text: str | None = None, exit_code: int | None = 0) -> Result:
    """Run the command, and check how it ends."""
    result = invoke(*arguments, url=url, text=text)
    assert exit_code is None or result.exit_code == exit_code, (result.output, result.exception)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "Traceback" not in result.output
    return result


def run_json(*arguments: str, url: str, text: str | None = None, exit_code: int = 0) -> Any:
    """Run the command with ``--json`` and return what it prints."""
    return json.loads(run(*arguments, "--json", url=url, text=text, exit_code=exit_code).stdout)


def url_of(engine: Engine) -> str:
    """Return the URL of an engine, with its password."""
    return engine.url.render_as_string(hide_password=False)


def small_catalogue(engine: Engine) -> str:
    """Fill a database with a few features, tiers and tenants, and return its URL."""
    with Session(engine) as session:
        registry = writer(session)
        seed(
            registry,
            "ui.canvas",
            integer("ui.limit", depends_on=["ui.canvas"]),
            feature("help.chat", default_value={"enabled": True, "value": True}),
            "data.history",
            feature("data.nothing", conflicts_with=["data.history"]),
        )
        registry.tiers.create(tier("free", is_default=True))
        registry.tiers.create(tier("pro", rank=10), base="free")
        registry.tiers.grant("free", {"ui.canvas": ON, "data.history": ON})
        registry.tiers.grant("pro", {"ui.limit": {"enabled": True, "value": 25}})
        registry.licenses.assign("acme", "pro")
        registry.licenses.trial("globex", "pro", days=7)
        registry.licenses.assign("initech", "free")
        registry.overrides.set("hooli", "ui.limit", {"enabled": True, "unlimited": True})
        registry.overrides.set("umbrella", "data.nothing", ON, deny=["data.history"], reason="Contract 7")
        registry.overrides.set("stark", "ui.limit", ON, expires_at=utc_now() + timedelta(days=3))
        registry.overrides.set("wayne", "ui.canvas", OFF)
        session.commit()
    return url_of(engine)
