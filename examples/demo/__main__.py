"""``python -m examples.demo``."""

from __future__ import annotations

import sys

from examples.demo.app import main

sys.exit(main())
