"""Prefect reads its environment when it is imported: keep its home out of the user's."""

from __future__ import annotations

import os
import tempfile

os.environ.setdefault("PREFECT_HOME", tempfile.mkdtemp(prefix="ganpipe-prefect-"))
os.environ.setdefault("DO_NOT_TRACK", "true")
