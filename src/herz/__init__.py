"""Herz: a deterministic, provable, service-level-aware Kubernetes scheduler."""
