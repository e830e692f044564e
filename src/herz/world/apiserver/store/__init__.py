"""Where the objects live: versions in memory, every one of them durable in SQLite first."""

from __future__ import annotations

from herz.world.apiserver.store.feed import Feed
from herz.world.apiserver.store.store import Store
from herz.world.apiserver.store.versions import Change, Key, Version

__all__ = ["Change", "Feed", "Key", "Store", "Version"]
