"""Keys of stored secrets: which rows are under which, moving them to another, whether a process has the right ones."""

from __future__ import annotations

from tierwright.rotation.canary import KeyCheck, verify_keys
from tierwright.rotation.counting import KeyCount, count_keys
from tierwright.rotation.rotating import RotationReport, rotate

__all__ = ["KeyCheck", "KeyCount", "RotationReport", "count_keys", "rotate", "verify_keys"]
