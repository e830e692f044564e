"""Patches of the three kinds, on the shapes that kubectl and controllers send."""

from __future__ import annotations

from typing import Any

import pytest

from herz.world.apiserver.objects.patches import json_patch, merge_patch, strategic_patch
from herz.world.apiserver.objects.schema import Type
from herz.world.apiserver.refusal import RefusedError

POD = Type("Pod")


def pod(*names: str, **more: Any) -> dict[str, Any]:
    containers = [{"name": name, "image": f"{name}:1"} for name in names]
    return {"spec": {"containers": containers, **more}}


def containers(patched: dict[str, Any]) -> list[tuple[str, str]]:
    return [(item["name"], item.get("image", "")) for item in patched["spec"]["containers"]]


def test_items_are_merged_by_their_key_and_added_at_the_end() -> None:
    patch = pod("b", "c")
    patch["spec"]["containers"][0]["image"] = "b:2"
    patched = strategic_patch(pod("a", "b"), patch, POD)
    assert containers(patched) == [("a", "a:1"), ("b", "b:2"), ("c", "c:1")]


def test_items_are_deleted_and_replaced_by_directives() -> None:
    gone = {"spec": {"containers": [{"$patch": "delete", "name": "a"}]}}
    assert containers(strategic_patch(pod("a", "b"), gone, POD)) == [("b", "b:1")]
    fresh = {"spec": {"containers": [{"$patch": "replace"}, {"name": "z", "image": "z:1"}]}}
    assert containers(strategic_patch(pod("a", "b"), fresh, POD)) == [("z", "z:1")]
    alone = {"spec": {"$patch": "replace", "nodeName": "n"}}
    assert strategic_patch(pod("a"), alone, POD)["spec"] == {"nodeName": "n"}
    assert strategic_patch(pod("a"), {"spec": {"$patch": "delete"}}, POD)["spec"] == {}


def test_the_order_is_that_of_the_directive_and_others_keep_their_place() -> None:
    patch = pod("c", "a")
    patch["spec"]["$setElementOrder/containers"] = [{"name": "c"}, {"name": "a"}]
    patched = strategic_patch(pod("a", "x", "c"), patch, POD)
    assert [name for name, _ in containers(patched)] == ["x", "c", "a"]
    only = {"spec": {"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]}}
    assert [name for name, _ in containers(strategic_patch(pod("a", "b"), only, POD))] == ["b", "a"]


def test_lists_without_a_key_are_replaced_and_sets_are_united() -> None:
    old = pod("a", tolerations=[{"key": "x"}])
    patched = strategic_patch(old, {"spec": {"tolerations": [{"key": "y"}]}}, POD)
    assert patched["spec"]["tolerations"] == [{"key": "y"}]
    held = {"metadata": {"finalizers": ["a", "b"]}}
    more = strategic_patch(held, {"metadata": {"finalizers": ["b", "c"]}}, POD)
    assert more["metadata"]["finalizers"] == ["a", "b", "c"]
    less = {"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}}
    assert strategic_patch(held, less, POD)["metadata"]["finalizers"] == ["b"]


def test_only_the_named_keys_are_retained() -> None:
    old = pod("a", volumes=[{"name": "v", "emptyDir": {}}])
    volume = {"name": "v", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}}
    patched = strategic_patch(old, {"spec": {"volumes": [volume]}}, POD)
    assert patched["spec"]["volumes"] == [{"name": "v", "configMap": {"name": "c"}}]


def test_a_null_takes_away_in_both_merges() -> None:
    old = {"metadata": {"labels": {"a": "1", "b": "2"}}}
    patch = {"metadata": {"labels": {"a": None, "c": "3"}}}
    wanted = {"metadata": {"labels": {"b": "2", "c": "3"}}}
    assert strategic_patch(old, patch, POD) == wanted
    assert merge_patch(old, patch) == wanted


@pytest.mark.parametrize(
    "patch",
    [
        [],
        {"spec": {"containers": [{"image": "nameless"}]}},
        {"spec": {"containers": ["text"]}},
        {"spec": {"$patch": "explode"}},
        {"spec": {"$retainKeys": "text"}},
        {"spec": {"$setElementOrder/containers": 1, "containers": []}},
        {"metadata": {"$deleteFromPrimitiveList/finalizers": 1}},
    ],
)
def test_malformed_strategic_patches_are_refused(patch: Any) -> None:
    with pytest.raises(RefusedError) as refused:
        strategic_patch({**pod("a"), "metadata": {"finalizers": ["a"]}}, patch, POD)
    assert refused.value.code == 400


@pytest.mark.parametrize(
    ("steps", "wanted"),
    [
        ([{"op": "add", "path": "/a/1", "value": 9}], {"a": [1, 9, 2], "b": {"c": None}}),
        ([{"op": "add", "path": "/a/-", "value": 9}], {"a": [1, 2, 9], "b": {"c": None}}),
        ([{"op": "remove", "path": "/a/0"}], {"a": [2], "b": {"c": None}}),
        ([{"op": "replace", "path": "/b/c", "value": 1}], {"a": [1, 2], "b": {"c": 1}}),
        (
            [{"op": "copy", "from": "/a", "path": "/b/d"}],
            {"a": [1, 2], "b": {"c": None, "d": [1, 2]}},
        ),
        ([{"op": "move", "from": "/a/0", "path": "/b/c"}], {"a": [2], "b": {"c": 1}}),
        (
            [{"op": "add", "path": "/x~1y~0z", "value": 1}],
            {"a": [1, 2], "b": {"c": None}, "x/y~z": 1},
        ),
        ([{"op": "add", "path": "", "value": {"n": 1}}], {"n": 1}),
        ([{"op": "test", "path": "/b", "value": {"c": None}}], {"a": [1, 2], "b": {"c": None}}),
    ],
)
def test_json_patches_do_what_the_rfc_says(steps: list[dict[str, Any]], wanted: Any) -> None:
    document = {"a": [1, 2], "b": {"c": None}}
    assert json_patch(document, steps) == wanted
    assert document == {"a": [1, 2], "b": {"c": None}}, "what was given is not changed"


@pytest.mark.parametrize(
    ("steps", "code"),
    [
        ({}, 400),
        ([1], 400),
        ([{"op": "add", "path": "/x"}], 400),
        ([{"op": "add", "path": "x", "value": 1}], 400),
        ([{"op": "jump", "path": "/x", "value": 1}], 400),
        ([{"op": "add", "path": "/" + "a/" * 100, "value": 1}], 400),
        ([{"op": "test", "path": "/a/0", "value": True}], 422),
        ([{"op": "remove", "path": "/x"}], 422),
        ([{"op": "remove", "path": "/a/01"}], 422),
        ([{"op": "remove", "path": "/a/7"}], 422),
        ([{"op": "remove", "path": ""}], 422),
        ([{"op": "add", "path": "/a/0/b", "value": 1}], 422),
        ([{"op": "move", "from": "/a", "path": "/a/0"}], 422),
        ([{"op": "test", "path": "/a", "value": 1}] * 10_001, 413),
    ],
)
def test_json_patches_that_cannot_be_done_are_refused(steps: Any, code: int) -> None:
    with pytest.raises(RefusedError) as refused:
        json_patch({"a": [1, 2]}, steps)
    assert refused.value.code == code
