"""Long, seeded runs of the task runtime; short ones of the same are in tests/unit/runtime."""
