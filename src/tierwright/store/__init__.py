"""Decisions kept in memory: filled by connections of its own, bounded in size and in age."""

from tierwright.store.snapshot_store import SnapshotStore

__all__ = ["SnapshotStore"]
