"""The settings of an integration as a command is given them: secrets from a prompt, a file or standard input only."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import typer

from tierwright.cli import documents
from tierwright.config_schema.documents import merge
from tierwright.config_schema.pointers import canonical
from tierwright.errors import InvalidInput
from tierwright.integrations.settings import HiddenDocument
from tierwright.secrets.hidden import Hidden

_STANDARD_INPUT = "-"


@dataclass(frozen=True)
class Given:
    """What a command was given.

    Attributes:
        document: of ``--from``; None where that was not given, and the stored settings stay.
        secrets: by JSON Pointer.
    """

    document: Hidden[dict[str, Any]] | None
    secrets: Hidden[dict[str, Any]]

    def over(self, stored: Mapping[str, Any]) -> HiddenDocument:
        """Return the whole document, over the public settings that are stored."""
        base = stored if self.document is None else self.document.reveal()
        return Hidden(merge(base, self.secrets.reveal()))


def given_settings(from_: str | None, prompted: list[str] | None, files: list[str] | None) -> Given:
    """Read what a command is given.

    Args:
        from_: a file with a JSON object, or ``-``.
        prompted: names of secrets to ask for, without showing what is typed.
        files: ``NAME=FILE`` for each secret that is in a file; ``-`` is standard input. One line break at the end is
            not a part of the secret.

    Raises:
        InvalidInput: a file cannot be read, is no JSON object, or a secret is given twice.
    """
    named = [_named(given) for given in files or ()]
    if [from_, *(path for _, path in named)].count(_STANDARD_INPUT) > 1:
        raise InvalidInput("Standard input can be read once only.", remedy="Put one of them into a file.")
    secrets: dict[str, Hidden[str]] = {}
    for name, path in named:
        _add(secrets, name, _contents(path))
    for name in prompted or ():
        _add(secrets, name, Hidden(typer.prompt(name, hide_input=True, err=True)))
    document = None if from_ is None else Hidden(documents.from_file(from_))
    return Given(document, Hidden({name: secret.reveal() for name, secret in secrets.items()}))


def _named(given: str) -> tuple[str, str]:
    name, separator, path = given.partition("=")
    if not separator or not name or not path:
        raise InvalidInput("This names no secret and file.", remedy="Write --secret-file NAME=FILE.")
    return name, path


def _add(secrets: dict[str, Hidden[str]], name: str, secret: Hidden[str]) -> None:
    if canonical(name) in secrets:
        raise InvalidInput(f"The secret {name!a} is given twice.", remedy="Give it once.")
    secrets[canonical(name)] = secret


def _contents(path: str) -> Hidden[str]:
    found = _read(path)
    if found is None:
        raise InvalidInput(f"The file {path!a} cannot be read as text.", remedy="Check its name, and that it is UTF-8.")
    return found


def _read(path: str) -> Hidden[str] | None:
    try:
        text = sys.stdin.read() if path == _STANDARD_INPUT else Path(path).read_text("utf-8")
    except (OSError, ValueError):
        return None
    return Hidden(text.removesuffix("\n").removesuffix("\r"))
