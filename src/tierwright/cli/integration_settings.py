"""The settings of an integration as a command is given them: secrets from a prompt, a file or standard input only."""

from __future__ import annotations

import getpass
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import typer
from sqlalchemy.orm import Session

from tierwright.cli import output
from tierwright.cli.hidden_files import STANDARD_INPUT, document_in, secret_in
from tierwright.config_schema import ConfigSchema
from tierwright.config_schema.documents import merge
from tierwright.config_schema.pointers import canonical
from tierwright.errors import InvalidInput
from tierwright.integrations import rows
from tierwright.integrations.settings import HiddenDocument
from tierwright.secrets.hidden import Hidden
from tierwright.services.registry.inputs import key_of
from tierwright.services.session_state import connection_of


@dataclass(frozen=True)
class Given:
    """What a command was given.

    Attributes:
        document: of ``--from``; None where that was not given, and the stored settings stay.
        secrets: by JSON Pointer.
    """

    document: Hidden[dict[str, Any]] | None
    secrets: Mapping[str, Hidden[str]]

    def over(self, stored: Mapping[str, Any]) -> HiddenDocument:
        """Return the whole document, over the public settings that are stored."""
        base = stored if self.document is None else self.document.reveal()
        return Hidden(merge(base, {name: secret.reveal() for name, secret in self.secrets.items()}))

    def refuse_unknown(self, session: Session, integration: str) -> None:
        """Refuse names that are no secrets of the integration: what is given under them would not be hidden.

        Raises:
            InvalidInput: there is one.
            ReferenceUnknown: there is no such integration.
        """
        if not self.secrets:
            return
        found = rows.integration(connection_of(session), key_of("integration key", integration))
        known = ConfigSchema.of(found.config_schema).secrets
        for name in self.secrets:
            if name not in known:
                raise InvalidInput(
                    f"{integration} has no secret {output.plain(name[:100])}.",
                    remedy=f"Its secrets: {', '.join(known) or 'none'}; anything else belongs into --from.",
                )


def given_settings(from_: str | None, prompted: list[str] | None, files: list[str] | None) -> Given:
    """Read what a command is given.

    Args:
        from_: a file with a JSON or YAML object, or ``-``.
        prompted: names of secrets to ask for, without showing what is typed.
        files: ``NAME=FILE`` for each secret that is in a file; ``-`` is standard input.

    Raises:
        InvalidInput: a file cannot be read, is no such object, or a secret is given twice, or as an argument.
    """
    named = [_named(given) for given in files or ()]
    if [from_, *(path for _, path in named)].count(STANDARD_INPUT) > 1:
        raise InvalidInput("Standard input can be read once only.", remedy="Put one of them into a file.")
    names = [canonical(name) for name in [*(name for name, _ in named), *(prompted or ())]]
    if len(set(names)) < len(names):
        raise InvalidInput("A secret is given twice.", remedy="Give it once.")
    if any("=" in name for name in prompted or ()):
        raise InvalidInput("A secret is no argument: others could read it.", remedy="Write --secret NAME, and type it.")
    read = [secret_in(path, name) for name, path in named] + [_asked(name) for name in prompted or ()]
    return Given(None if from_ is None else document_in(from_), dict(zip(names, read, strict=True)))


def _named(given: str) -> tuple[str, str]:
    name, separator, path = given.partition("=")
    if not separator or not name or not path:
        raise InvalidInput("This names no secret and file.", remedy="Write --secret-file NAME=FILE.")
    return name, path


def _asked(given: str) -> Hidden[str]:
    name = output.plain(given)
    with warnings.catch_warnings():
        # Without a terminal that can hide it, getpass warns, and would read what is typed in the open.
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return Hidden(typer.prompt(name, hide_input=True, err=True))
        except getpass.GetPassWarning:
            pass
    raise InvalidInput("There is no terminal to type a secret on.", remedy=f"Use --secret-file {name}=FILE, or =-.")
