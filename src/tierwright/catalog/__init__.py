"""The catalogue as code: documents in files, compared with each other and with the database."""

from tierwright.catalog.applying import ApplyResult, apply
from tierwright.catalog.differences import Change
from tierwright.catalog.differences import differences as diff
from tierwright.catalog.document import CatalogDocument
from tierwright.catalog.dumping import dump
from tierwright.catalog.effect import Effect
from tierwright.catalog.exporting import export
from tierwright.catalog.importing import import_models
from tierwright.catalog.loading import check, load, parse
from tierwright.catalog.moving import MoveReport, move_tenants
from tierwright.catalog.outcome import Outcome, OutcomeKind, TenantOutcome
from tierwright.catalog.plan import Plan, plan
from tierwright.catalog.schema import schema
from tierwright.catalog.tier_move import Move, plan_move

__all__ = [
    "ApplyResult",
    "CatalogDocument",
    "Change",
    "Effect",
    "Move",
    "MoveReport",
    "Outcome",
    "OutcomeKind",
    "Plan",
    "TenantOutcome",
    "apply",
    "check",
    "diff",
    "dump",
    "export",
    "import_models",
    "load",
    "move_tenants",
    "parse",
    "plan",
    "plan_move",
    "schema",
]
