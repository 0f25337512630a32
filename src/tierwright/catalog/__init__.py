"""The catalogue as code: documents in files, compared with each other and with the database."""

from tierwright.catalog.differences import Change
from tierwright.catalog.differences import differences as diff
from tierwright.catalog.document import CatalogDocument
from tierwright.catalog.exporting import export
from tierwright.catalog.loading import check, load, parse

__all__ = ["CatalogDocument", "Change", "check", "diff", "export", "load", "parse"]
