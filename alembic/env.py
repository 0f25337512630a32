"""Alembic's entry: hands over to the package, where the locks, transactions and refusals live.

A host that merges our revisions into its own chain runs its own ``env.py`` instead of this one; the helpers in
the revisions check their own preconditions for that reason.
"""

from alembic import context

from tierwright.migrations.environment import run

run(context)
