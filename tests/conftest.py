"""What all tests share: in CI, the examples of property tests are the same on every run."""

from __future__ import annotations

import os

from hypothesis import settings

if os.environ.get("CI"):
    # A red run of a change must be the change's doing. What a test sets itself stays as it is.
    settings.register_profile("reproducible", derandomize=True, database=None, print_blob=True)
    settings.load_profile("reproducible")
