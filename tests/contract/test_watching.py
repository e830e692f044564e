"""Behaviours 7 to 13: lists and watches."""

from __future__ import annotations

from tests.contract.conftest import EMBEDDED, Space
from tests.support.cluster import kubeconfig_of_tests


def test_07_watch_goes_on_where_the_list_ended(space: Space) -> None:
    space.pod("a")
    listed = space.api.get(space.pods)
    assert [item["metadata"]["name"] for item in listed.content["items"]] == ["a"]
    space.pod("b")
    space.api.patch(f"{space.pods}/a", {"metadata": {"labels": {"x": "y"}}})
    space.api.delete(f"{space.pods}/a")
    with space.api.watch(space.pods, resourceVersion=listed.revision) as events:
        seen = [next(events) for _ in range(4)]
    names = [(item["type"], item["object"]["metadata"]["name"]) for item in seen]
    assert names == [("ADDED", "b"), ("MODIFIED", "a"), ("MODIFIED", "a"), ("DELETED", "a")]
    marked = seen[2]["object"]["metadata"]
    assert (marked["deletionGracePeriodSeconds"], marked["generation"]) == (0, 2)
    assert seen[3]["object"]["metadata"]["resourceVersion"] != listed.revision


def test_07_bookmarks_carry_nothing_but_a_version(space: Space) -> None:
    made = space.pod("a")
    space.api.post(f"{space.root}/configmaps", {"metadata": {"name": "elsewhere"}})
    query = {"resourceVersion": made.revision, "allowWatchBookmarks": "true"}
    if kubeconfig_of_tests() is not None:
        query |= {"resourceVersionMatch": "NotOlderThan", "sendInitialEvents": "true"}
    with space.api.watch(space.pods, **query) as events:
        mark = next(item for item in events if item["type"] == "BOOKMARK")
    assert mark["object"]["kind"] == "Pod"
    assert set(mark["object"]["metadata"]) <= {
        "resourceVersion",
        "creationTimestamp",
        "annotations",
    }
    with space.api.watch(
        space.pods, resourceVersion=mark["object"]["metadata"]["resourceVersion"]
    ) as events:
        space.pod("b")
        assert next(events)["object"]["metadata"]["name"] == "b"


def test_07_watch_from_zero_begins_with_what_is_there(space: Space) -> None:
    space.pod("a")
    space.pod("b")
    with space.api.watch(space.pods, resourceVersion="0") as events:
        seen = [next(events) for _ in range(2)]
    assert [(item["type"], item["object"]["metadata"]["name"]) for item in seen] == [
        ("ADDED", "a"),
        ("ADDED", "b"),
    ]


def test_07_a_streamed_list_ends_with_a_marked_bookmark(space: Space) -> None:
    space.pod("a")
    query = {"sendInitialEvents": "true", "resourceVersionMatch": "NotOlderThan"}
    with space.api.watch(space.pods, allowWatchBookmarks="true", **query) as events:
        seen = [next(events) for _ in range(2)]
    assert [item["type"] for item in seen] == ["ADDED", "BOOKMARK"]
    notes = seen[1]["object"]["metadata"]["annotations"]
    assert notes == {"k8s.io/initial-events-end": "true"}


@EMBEDDED
def test_08_a_compacted_version_is_410_in_a_stream_and_as_a_status(space: Space) -> None:
    old = space.api.get(space.pods).revision
    first = space.api.get("/api/v1/namespaces", limit="1")
    token = first.content["metadata"]["continue"]
    # More changes than the history of the embedded server under test keeps.
    for number in range(520):
        labels = {"metadata": {"labels": {"n": str(number)}}}
        space.api.patch(f"/api/v1/namespaces/{space.name}", labels)
    with space.api.watch(space.pods, resourceVersion=old) as events:
        event = next(events)
        assert next(events, None) is None
    assert event["type"] == "ERROR"
    assert (event["object"]["code"], event["object"]["reason"]) == (410, "Expired")
    exact = space.api.get(space.pods, resourceVersion=old, resourceVersionMatch="Exact")
    assert (exact.code, exact.reason) == (410, "Expired")
    page = space.api.get("/api/v1/namespaces", limit="1", **{"continue": token})
    assert (page.code, page.reason) == (410, "Expired")
    assert space.api.get(space.pods).code == 200


def test_08_a_version_of_the_future_is_a_timeout_with_a_cause(space: Space) -> None:
    future = str(int(space.api.get(space.pods).revision) + 10**9)
    refused = space.api.get(space.pods, resourceVersion=future, timeoutSeconds="1")
    assert (refused.code, refused.reason) == (504, "Timeout")
    assert refused.content["details"]["causes"][0]["reason"] == "ResourceVersionTooLarge"


def test_08_a_version_that_is_none_is_refused(space: Space) -> None:
    assert space.api.get(space.pods, resourceVersion="abc").code == 400


def test_09_a_watch_ends_after_the_time_that_it_was_given(space: Space) -> None:
    with space.api.watch(space.pods, timeoutSeconds="1") as events:
        assert next(events, None) is None


def test_10_pages_show_one_and_the_same_version(space: Space) -> None:
    for name in ("a", "b", "c", "d", "e"):
        space.pod(name)
    first = space.api.get(space.pods, limit="2")
    metadata = first.content["metadata"]
    assert metadata["remainingItemCount"] == 3
    space.api.delete(f"{space.pods}/d")
    space.pod("f")
    space.api.patch(f"{space.pods}/e", {"metadata": {"labels": {"new": "x"}}})
    names, revisions = [], set()
    for _ in range(2):
        page = space.api.get(space.pods, limit="2", **{"continue": metadata["continue"]})
        assert page.code == 200, page.content
        metadata = page.content["metadata"]
        names += [item["metadata"]["name"] for item in page.content["items"]]
        revisions.add(metadata["resourceVersion"])
        labels = [item["metadata"]["labels"] for item in page.content["items"]]
        assert all("new" not in label for label in labels)
    assert names == ["c", "d", "e"]
    assert revisions == {first.revision}
    assert not metadata.get("continue")


def test_10_a_token_that_is_none_is_refused(space: Space) -> None:
    assert space.api.get(space.pods, limit="2", **{"continue": "!!"}).code == 400


def test_10_an_exact_list_is_what_was_then(space: Space) -> None:
    space.pod("a")
    then = space.api.get(space.pods).revision
    space.pod("b")
    exact = space.api.get(space.pods, resourceVersion=then, resourceVersionMatch="Exact")
    assert [item["metadata"]["name"] for item in exact.content["items"]] == ["a"]
    assert exact.revision == then
    newer = space.api.get(space.pods, resourceVersion=then, resourceVersionMatch="NotOlderThan")
    assert len(newer.content["items"]) == 2


def test_13_a_recreated_pod_has_another_uid(space: Space) -> None:
    first = space.pod("a")
    with space.api.watch(space.pods, resourceVersion=first.revision) as events:
        space.api.delete(f"{space.pods}/a")
        second = space.pod("a")
        seen = [next(events)]
        while seen[-1]["type"] != "ADDED":
            seen.append(next(events))
    assert seen[-2]["type"] == "DELETED"
    assert seen[-2]["object"]["metadata"]["uid"] == first.uid
    assert seen[-1]["object"]["metadata"]["uid"] == second.uid


def test_13_a_pod_may_appear_with_a_node(space: Space) -> None:
    made = space.pod("a", nodeName="n1")
    assert made.content["spec"]["nodeName"] == "n1"
