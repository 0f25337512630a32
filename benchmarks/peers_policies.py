"""Peers that are a policy engine, or part of a web framework."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from benchmarks.peers import Builder, Loaded
from benchmarks.truth import Truth

_RBAC = """
[request_definition]
r = sub, obj
[policy_definition]
p = sub, obj
[role_definition]
g = _, _
[policy_effect]
e = some(where (p.eft == allow))
[matchers]
m = g(r.sub, p.sub) && r.obj == p.obj
"""


def _casbin(truth: Truth, folder: str) -> Loaded:
    import casbin

    logging.disable(logging.INFO)  # it reports every decision
    model, policy = Path(folder) / "rbac.conf", Path(folder) / "policy.csv"
    model.write_text(_RBAC, "utf-8")
    lines = [f"p, {tier}, {key}" for tier in truth.tiers for key in truth.features if truth.granted[tier][key]]
    lines += [f"g, {tenant}, {truth.tier_of[tenant]}" for tenant in truth.tenants]
    policy.write_text("\n".join(lines), "utf-8")
    enforce = casbin.FastEnforcer(str(model), str(policy), cache_key_order=[1]).enforce

    def check_all(tenant: str) -> dict[str, bool]:
        return {key: enforce(tenant, key) for key in truth.features}

    return Loaded("casbin FastEnforcer, RBAC", lambda t, f: (t, f), enforce, check_all, 300, 1)


def _waffle(truth: Truth, folder: str) -> Loaded:
    """Flags for groups, warm in Django's local-memory cache; the users are the tenants."""
    import django
    import waffle
    from django.conf import settings

    settings.configure(
        INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth", "waffle"],
        DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": str(Path(folder) / "django.sqlite3")}},
        CACHES={
            "default": {
                "BACKEND": "django.core.cache.backends.locmem.LocMemCache",
                "TIMEOUT": None,
                "OPTIONS": {"MAX_ENTRIES": 1_000_000},
            }
        },
        SECRET_KEY="x",
        USE_TZ=True,
    )
    django.setup()
    users = _waffle_rows(truth)
    from django.test import RequestFactory

    factory = RequestFactory()
    requests: dict[str, Any] = {}

    def request(tenant: str) -> Any:
        if tenant not in requests:
            requests[tenant] = factory.get("/")
            requests[tenant].user = users[tenant]
        return requests[tenant]

    def check(of_tenant: Any, key: str) -> Any:
        return waffle.flag_is_active(of_tenant, key)

    def check_all(tenant: str) -> dict[str, bool]:
        return {key: check(request(tenant), key) for key in truth.features}

    check_all(truth.tenants[0])  # fills the cache
    return Loaded("django-waffle, flags for groups", lambda t, f: (request(t), f), check, check_all, 1000, 1)


def _waffle_rows(truth: Truth) -> dict[str, Any]:
    from django.contrib.auth.models import Group, User
    from django.core.management import call_command
    from django.db import transaction
    from waffle.models import Flag

    call_command("migrate", verbosity=0)
    with transaction.atomic():
        groups = {tier: Group.objects.create(name=tier) for tier in truth.tiers}
        User.objects.bulk_create([User(username=tenant, password="!") for tenant in truth.tenants])
        users = {user.username: user for user in User.objects.all()}
        member = User.groups.through
        member.objects.bulk_create(
            [member(user_id=users[t].pk, group_id=groups[truth.tier_of[t]].pk) for t in truth.tenants]
        )
        Flag.objects.bulk_create([Flag(name=key) for key in truth.features])
        on = Flag.groups.through
        on.objects.bulk_create(
            [
                on(flag_id=flag.pk, group_id=groups[tier].pk)
                for flag in Flag.objects.all()
                for tier in truth.tiers_with[flag.name]
            ]
        )
    return users


BUILDERS: dict[str, Builder] = {
    "casbin FastEnforcer, RBAC": _casbin,
    "django-waffle, flags for groups": _waffle,
}
