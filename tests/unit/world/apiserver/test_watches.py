"""Watch streams where a client over the network cannot look: bookmarks in the midst of changes."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from herz.world.apiserver.http.forms import Shape
from herz.world.apiserver.http.parameters import list_options
from herz.world.apiserver.http.paths import Target
from herz.world.apiserver.http.watches import Stream, Watch
from herz.world.apiserver.objects.kinds import kind_of
from herz.world.apiserver.objects.selection import parse_selection
from herz.world.apiserver.store import Key, Store

CONFIGS = kind_of("configmaps")


def stream(store: Store, fields: str, **query: str) -> Stream:
    options = list_options({"watch": "true", **query})
    selection = parse_selection(CONFIGS, "", fields)
    watch = Watch(Target(CONFIGS, "default"), selection, options, Shape())
    return Stream(store, watch, bookmark_s=0.02)


async def first(lines: Stream) -> dict[str, Any]:
    async for chunk in lines.lines():
        found: dict[str, Any] = json.loads(chunk.splitlines()[0])
        return found
    raise AssertionError("the stream has ended")


def test_bookmarks_come_though_others_change_all_the_time(tmp_path: Path) -> None:
    async def test() -> None:
        store = Store(tmp_path / "a.db")
        await store.put(Key("configmaps", "default", "x"), {"metadata": {"name": "x"}})

        async def change() -> None:
            while True:
                await store.put(Key("configmaps", "default", "x"), {"metadata": {"name": "x"}})

        changing = asyncio.ensure_future(change())
        query = {"resourceVersion": "1", "allowWatchBookmarks": "true", "timeoutSeconds": "20"}
        mark = await first(stream(store, "metadata.name=none", **query))
        changing.cancel()
        assert mark["type"] == "BOOKMARK"
        assert 1 < int(mark["object"]["metadata"]["resourceVersion"]) <= store.revision
        await store.close()

    asyncio.run(test())


def test_an_object_that_leaves_the_selection_is_shown_as_it_was_in_it(tmp_path: Path) -> None:
    pods = kind_of("pods")

    async def test() -> None:
        store = Store(tmp_path / "a.db")
        key = Key("pods", "default", "p")
        for phase in ("Running", "Failed"):
            content = {"metadata": {"name": "p"}, "status": {"phase": phase}}
            await store.put(key, content)
        options = list_options({"watch": "true", "resourceVersion": "1"})
        selection = parse_selection(pods, "", "status.phase=Running")
        watch = Watch(Target(pods, "default"), selection, options, Shape())
        gone = await first(Stream(store, watch))
        assert gone["type"] == "DELETED"
        assert gone["object"]["status"]["phase"] == "Running"
        assert gone["object"]["metadata"]["resourceVersion"] == "2"
        await store.close()

    asyncio.run(test())
