"""The column of the envelopes, read as bytes whatever stands in it.

SQLite keeps text or a number in a column of bytes if somebody puts it there, as a dump that was edited by hand does; a
driver then gives no bytes, or cannot read the row at all. What is no envelope is for the code that opens it to say.
"""

from __future__ import annotations

import sqlalchemy as sa
from sqlmodel import SQLModel

import tierwright.tables  # noqa: F401  fills the metadata

_COLUMN = SQLModel.metadata.tables["tenant_integration_configs"].c.encrypted_config
#: Without a type of SQLAlchemy's: both drivers give bytes as they are, and wrapping those of each row takes its time.
SEALED = sa.type_coerce(sa.cast(_COLUMN, sa.LargeBinary()), sa.types.NullType())
