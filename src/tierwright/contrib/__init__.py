"""Ties to other libraries; each module needs the extra of its own name."""
