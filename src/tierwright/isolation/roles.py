"""Which roles policies hold for, and which ones see everything whatever the policies say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlalchemy.engine import Connection

from tierwright.errors import IsolationRefused
from tierwright.isolation.state import PUBLIC, IsolationState, Role, read_roles


def refuse_unsafe(connection: Connection, state: IsolationState, app: Sequence[str], admin: str) -> None:
    """Refuse roles of the application that would see the rows of all tenants all the same.

    Raises:
        IsolationRefused: there is none, one does not exist, or no policy would hold for one.
    """
    if isinstance(app, str) or not app:
        raise IsolationRefused("No role of the application was named.", remedy="Name it: --app ROLE.")
    found = read_roles(connection, app, (admin, *state.owners))
    missing = [name for name in app if name not in found]
    if missing:
        raise IsolationRefused(f"There is no role {', '.join(missing)}.", remedy="Create it first (CREATE ROLE).")
    problems = [problem for role in found.values() for problem in problems_of(role, state.owners, (admin,))]
    if problems:
        raise IsolationRefused(
            f"Row-level security would not hold: {'; '.join(problems)}.",
            remedy="Let the application connect as a role of its own, which owns nothing and belongs to nobody.",
            details={"problems": problems},
        )


def problems_of(role: Role, owners: Sequence[str], admins: Sequence[str]) -> Iterator[str]:
    """Yield why a role of the application sees more than one tenant."""
    if role.is_superuser:
        yield f"{role.name} is a superuser"
    elif role.bypasses:
        yield f"{role.name} has BYPASSRLS"
    else:
        for owner in owners:
            if owner in role.belongs_to:
                yield f"{role.name} " + ("owns tables" if owner == role.name else f"belongs to the owner {owner}")
        for admin in admins:
            if admin in role.belongs_to and admin != PUBLIC:
                yield f"{role.name} " + ("is the admin role" if admin == role.name else f"belongs to {admin}")
        for other in role.unbound:
            if other not in (*owners, *admins):
                yield f"{role.name} belongs to {other}, for which no policy holds"
