"""A list's models in a catalogue: in a document, or in what a database holds."""

from __future__ import annotations

from sqlalchemy.engine import Connection
from sqlalchemy.orm import Session

from tierwright.catalog.document import CatalogDocument
from tierwright.catalog.exporting import export
from tierwright.catalog.importers import ImportResult, merge


def import_models(
    current: CatalogDocument | Connection | Session, imported: ImportResult, source: str
) -> CatalogDocument:
    """Return a catalogue with the models of a list in it, to be planned and applied like any other.

    Nothing is written. Models of the list are created or updated, fields that people set by hand stay, models that
    vanished from the list are retired and those that came back revived. Models that something else made, and features
    that are there, are left alone.

    Args:
        current: a document, or the database whose catalogue is taken.
        imported: what ``tierwright.catalog.importers.find(source).read(file)`` returns.
        source: the importer's name, which the models get as ``import_source``.

    Raises:
        InvalidInput: the list has keys that no document can have.
    """
    return merge(current if isinstance(current, CatalogDocument) else export(current), imported, source)
