"""What a caller wants an integration's settings to be: taken apart, and checked before anything is written."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any

from tierwright.config_schema import ConfigSchema, Findings
from tierwright.config_schema.pointers import canonical
from tierwright.config_schema.shield import shielded
from tierwright.errors import ConfigInvalid, InvalidInput, SecretInPlainConfig
from tierwright.integrations.sealing import HiddenSecrets
from tierwright.secrets.hidden import Hidden
from tierwright.tables.json_rules import check_json

HiddenDocument = Hidden[Mapping[str, Any]]

#: Of what check_json says: the place and the problem. A key in the place may be anything.
_SAID = re.compile(r"Not a valid document at (?P<place>.*): (?P<problem>.*)\.", re.DOTALL)
_PLAIN_PLACE = re.compile(r"\$[\w.\[\]-]*")


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings in two parts, of which the public one may be stored in the clear.

    Attributes:
        public: without the secrets.
        secret: the secrets that were given, by JSON Pointer.
        names: their names.
    """

    public: dict[str, Any] = field(repr=False)
    secret: HiddenSecrets
    names: tuple[str, ...]


def hidden(document: Mapping[str, Any] | HiddenDocument) -> HiddenDocument:
    """Return a document that nothing shows by accident."""
    return document if isinstance(document, Hidden) else Hidden(document)


def taken_apart(schema: ConfigSchema, document: HiddenDocument) -> Settings:
    """Return the two parts of a document.

    Raises:
        ConfigInvalid: it is no mapping, or holds what JSON cannot.
        SecretInPlainConfig: its public part holds what looks like a secret.
    """
    return shielded(lambda: _taken_apart(schema, document))


def refuse_invalid(schema: ConfigSchema, settings: Settings, kept: Collection[str], *, complete: bool) -> list[str]:
    """Refuse settings that do not fit the schema.

    Args:
        schema: the integration's.
        settings: what was given.
        kept: names of secrets that are stored, and stay.
        complete: whether all secrets that the schema requires must be there too.

    Returns:
        The names of the required secrets that are missing.

    Raises:
        ConfigInvalid: they do not fit.
    """
    found = shielded(lambda: schema.findings(schema.merge(settings.public, settings.secret.reveal()), kept))
    if found.problems or (complete and found.missing):
        raise _invalid(found)
    return list(found.missing)


def refuse_unready(schema: ConfigSchema, public: dict[str, Any], stored: Collection[str]) -> None:
    """Refuse to switch on what is stored, unless it is complete and fits the schema of today; no key is needed.

    Args:
        schema: the integration's.
        public: the stored settings.
        stored: names of the stored secrets.

    Raises:
        ConfigInvalid: the settings do not fit, or a required secret is missing.
        SecretInPlainConfig: the settings hold what looks like a secret, or what the schema has marked since.
    """
    if names := schema.secret_names(public):
        raise SecretInPlainConfig(
            f"The config_schema marks what is stored in the clear: {', '.join(names[:5])}.",
            remedy="Configure it again, so that it is sealed; who has read it meanwhile knows it.",
            details={"places": list(names)},
        )
    refuse_plain_secrets(schema, public)
    kept = frozenset(stored) & frozenset(schema.secrets)
    refuse_invalid(schema, Settings(public, Hidden({}), ()), kept, complete=True)


def refuse_plain_secrets(schema: ConfigSchema, public: Mapping[str, Any]) -> None:
    """Refuse a public part that holds what looks like a secret.

    Raises:
        SecretInPlainConfig: it does.
    """
    if places := schema.plain_secrets(public):
        raise SecretInPlainConfig(
            f"The settings would store in the clear what looks like a secret: {', '.join(places[:5])}.",
            remedy='Mark it in the config_schema: "writeOnly": true, or false where it is meant to be read.',
            details={"places": list(places)},
        )


def names_of(names: Collection[str], known: Collection[str], given: Collection[str]) -> frozenset[str]:
    """Return the names of secrets to forget.

    Args:
        names: what the caller passed; the first slash may be missing.
        known: the names of the schema's secrets, and of those that are stored.
        given: the names of the secrets that the same call sets.

    Raises:
        InvalidInput: there is no such secret, or the call sets it too.
    """
    if not isinstance(names, Collection) or isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise InvalidInput("The secrets to forget are a list of names.", remedy="Pass a list.")
    wanted = frozenset(canonical(name) for name in names)
    if wanted - set(known):
        raise InvalidInput("There is no secret of a name to forget.", remedy=f"There are: {', '.join(sorted(known))}.")
    if both := wanted & set(given):
        raise InvalidInput(f"The same call sets and forgets {', '.join(sorted(both))}.", remedy="Do one of both.")
    return wanted


def storable(value: Any, what: str) -> Any:
    """Return a copy of a JSON value that fits into its column.

    Raises:
        ConfigInvalid: it does not; the value is not repeated.
    """
    try:
        return check_json(value)
    except InvalidInput as error:
        said = _SAID.fullmatch(error.message)
        place = said["place"] if said and _PLAIN_PLACE.fullmatch(said["place"]) else ""
        at = f" at {place}" if place not in ("", "$") and not what.startswith("The secret") else ""
        raise ConfigInvalid(
            f"{what}: {said['problem'] if said else 'it is not JSON'}{at}.", remedy=error.remedy
        ) from None


def _taken_apart(schema: ConfigSchema, document: HiddenDocument) -> Settings:
    whole = document.reveal()
    if not isinstance(whole, Mapping):
        raise ConfigInvalid("The settings are no mapping.", remedy="Pass a dict.")
    public, secret = schema.split(whole)
    secret = {name: storable(value, f"The secret {name} cannot be stored") for name, value in secret.items()}
    storable(secret, "The secrets cannot be stored")
    public = storable(public, "The settings cannot be stored")
    refuse_plain_secrets(schema, public)
    return Settings(public, Hidden(secret), tuple(secret))


def _invalid(found: Findings) -> ConfigInvalid:
    problems = [str(problem) for problem in found.problems]
    said = [*problems[:5], *(f"the secret {name} is required" for name in found.missing[:5])]
    return ConfigInvalid(
        f"The settings do not fit the config_schema: {'; '.join(said)}.",
        remedy="Correct the settings, or set the secrets.",
        details={
            "problems": [{"place": problem.place, "keyword": problem.keyword} for problem in found.problems],
            "missing_secrets": list(found.missing),
        },
    )
