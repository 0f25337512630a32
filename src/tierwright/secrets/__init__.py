"""Sealing the secrets of tenants, and the keys for it; everything here is without a database.

Needs the extra ``secrets``, except for what an envelope says without a key.
"""

from tierwright.secrets.envelope import Binding, Header, header_of, open_sealed, reseal, rewrap, seal
from tierwright.secrets.hidden import Hidden
from tierwright.secrets.keys import KeyProvider, KeyRing, generate_key

__all__ = [
    "Binding",
    "Header",
    "Hidden",
    "KeyProvider",
    "KeyRing",
    "generate_key",
    "header_of",
    "open_sealed",
    "reseal",
    "rewrap",
    "seal",
]
