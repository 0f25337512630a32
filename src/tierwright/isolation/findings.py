"""What is wrong with row-level security that is on; nothing where it is off."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from sqlalchemy.engine import Connection

from tierwright.errors import PrivilegeMissing
from tierwright.isolation.roles import problems_of
from tierwright.isolation.state import (
    PUBLIC,
    RULES,
    TENANT_POLICY,
    IsolationState,
    TableState,
    read_isolation,
    read_roles,
)
from tierwright.isolation.ways_round import ways_round
from tierwright.services.row_security import ADMIN_POLICY
from tierwright.services.tenant_scope import require_all_tenants

_AGAIN = "Run `tierwright db isolation enable` again, with the application's roles."


@dataclass(frozen=True, slots=True)
class IsolationFinding:
    """One way in which tenants are not apart, or the rows of all not seen by those who must.

    Attributes:
        code: what kind it is, stable.
        object: the table or role.
        message: what was found.
        remedy: what to do.
    """

    code: str
    object: str
    message: str
    remedy: str


def isolation_findings(connection: Connection) -> list[IsolationFinding]:
    """Return what is wrong with row-level security, where any of it is on.

    Args:
        connection: in the schema of the tables; of SQLite there is nothing to find.
    """
    if connection.dialect.name != "postgresql":
        return []
    state = read_isolation(connection)
    if not state.is_on:
        return []
    return [
        *(finding for table in state.tables.values() for finding in _of_table(table)),
        *_of_roles(connection, state),
        *_of_owners(connection, state),
        *_of_this_role(connection),
    ]


def _of_table(table: TableState) -> Iterator[IsolationFinding]:
    if not table.is_on:
        yield IsolationFinding(
            "row-security-off", table.name, "Row-level security is off here, and on elsewhere.", _AGAIN
        )
    if not table.is_forced:
        yield IsolationFinding("row-security-not-forced", table.name, "Its owner sees every row (no FORCE).", _AGAIN)
    for name in RULES:
        policy = table.policy(name)
        if policy is None:
            yield IsolationFinding("policy-missing", f"{table.name}.{name}", "There is no such policy.", _AGAIN)
        elif not policy.is_right:
            said = f"It says {policy.using} and {policy.checking}."
            yield IsolationFinding("policy-differs", f"{table.name}.{name}", said, _AGAIN)
    for policy in table.policies:
        if not policy.is_ours:
            said = f"A policy that is not ours lets rows through: {policy.using}."
            yield IsolationFinding("policy-added", f"{table.name}.{policy.name}", said, "Drop it: policies add up.")


def _of_roles(connection: Connection, state: IsolationState) -> Iterator[IsolationFinding]:
    app, admins = state.roles_of(TENANT_POLICY), state.roles_of(ADMIN_POLICY)
    if PUBLIC in (*app, *admins):
        yield IsolationFinding("policy-public", PUBLIC, "A policy of ours is for every role.", _AGAIN)
    bound = []
    for name, role in sorted(read_roles(connection, app, (*state.owners, *admins)).items()):
        problems = list(problems_of(role, state.owners, admins))
        for problem in problems:
            yield IsolationFinding(
                "role-not-isolated",
                name,
                f"The policies do not hold for the application: {problem}.",
                "Let the application connect as a role of its own, which owns nothing and belongs to nobody.",
            )
        bound += [] if problems else [name]
    for found in ways_round(connection, bound):  # the others have their way already
        yield IsolationFinding(*found)


def _of_owners(connection: Connection, state: IsolationState) -> Iterator[IsolationFinding]:
    admins = state.roles_of(ADMIN_POLICY)
    for name, owner in read_roles(connection, state.owners, admins).items():
        if not (owner.is_superuser or owner.bypasses or owner.inherits.intersection(admins)):
            said = "It owns tables and inherits from no admin role: migrations would see no rows, and refuse to run."
            yield IsolationFinding("owner-sees-nothing", name, said, _AGAIN)


def _of_this_role(connection: Connection) -> Iterator[IsolationFinding]:
    try:
        require_all_tenants(connection)
    except PrivilegeMissing as error:
        yield IsolationFinding("rows-hidden", "current role", error.message, error.remedy)
