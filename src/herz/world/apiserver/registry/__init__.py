"""The verbs on objects: create, update, patch, delete, bind, evict, scale. No HTTP in here."""

from __future__ import annotations

from herz.world.apiserver.registry.registry import Registry

__all__ = ["Registry"]
