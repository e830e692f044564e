"""Volumes as the rules and the binder see them: mounts on rows, claims, and what fits them."""
