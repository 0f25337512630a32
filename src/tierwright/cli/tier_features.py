"""What a tier grants: two commands of ``tierwright tier``."""

from __future__ import annotations

from typing import Annotated

import typer

from tierwright.cli import documents, options
from tierwright.cli.writing import Work
from tierwright.errors import InvalidInput

Features = Annotated[list[str] | None, typer.Argument(metavar="FEATURE...", help="The keys of the features.")]


def grant(
    tier: options.TierKey,
    features: Features = None,
    value: options.Value = None,
    unlimited: options.Unlimited = False,
    off: options.Off = False,
    from_: Annotated[
        str | None,
        typer.Option("--from", metavar="FILE|-", help="JSON: a value document by feature; - is standard input."),
    ] = None,
) -> Work:
    """Say what TIER grants; what it says about other features stays."""
    granted = {
        **documents.from_file(from_),
        **dict.fromkeys(features or (), documents.value(value, unlimited, off)),
    }
    if not granted:
        raise InvalidInput("No feature was named.", remedy="Name features, or give them with --from.")
    return lambda registry: registry.tiers.grant(tier, granted)


def revoke(
    tier: options.TierKey,
    features: Annotated[list[str], typer.Argument(metavar="FEATURE...", help="The keys of the features.")],
) -> Work:
    """Let TIER say nothing about features, so that its base or the registry's default counts."""
    return lambda registry: registry.tiers.revoke(tier, features)
