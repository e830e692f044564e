"""Whatever is sent to the embedded API server: no 500, a Status for every refusal, and it lives."""

from __future__ import annotations

import http.client
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from herz.world.apiserver.embedded import Settings
from herz.world.apiserver.http.server import Limits
from herz.world.apiserver.kubelets import Shape
from herz.world.apiserver.objects.kinds import KINDS
from herz.world.apiserver.objects.schema import types
from tests.support.cluster import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Client, running

MEDIA = (
    "application/json",
    "application/vnd.kubernetes.protobuf",
    "application/apply-patch+yaml",
    JSON_PATCH,
    MERGE_PATCH,
    STRATEGIC_PATCH,
    "text/plain",
    "",
)
ALLOWED_5XX = {501, 504}
"""Not served here, and a version of the future; everything else of 5xx is a bug."""
NAMES = st.sampled_from(["a", "b", "default", "node-0", "kube-system", "", "..", "A", "x" * 300])


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("cluster")
    limits = Limits(bookmark_s=0.1)
    with running(Settings(folder, limits=limits, nodes=Shape(2))) as cluster:
        yield Client(cluster.kubeconfig)


class Kept(logging.Handler):
    """Keeps what is logged."""

    def __init__(self, found: list[logging.LogRecord]) -> None:
        super().__init__(logging.ERROR)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        self._found.append(record)


@pytest.fixture(scope="module", autouse=True)
def bugs() -> Iterator[list[logging.LogRecord]]:
    """What server and controllers log of errors while this module runs."""
    found: list[logging.LogRecord] = []
    handler = Kept(found)
    logger = logging.getLogger("herz")
    logger.addHandler(handler)
    yield found
    logger.removeHandler(handler)


@pytest.fixture(scope="module")
def connection(api: Client) -> Iterator[http.client.HTTPSConnection]:
    connected = api.connect()
    yield connected
    connected.close()


FIELDS = sorted({name for fields in types().values() for name in fields})
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**66), 2**66),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(
        ["1", "100m", "1Gi", "-1", "True", "Always", "a", "50%", "0%", "default", "node-0"]
    ),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from([*FIELDS, "$patch", "$retainKeys"]), inner, max_size=4),
    ),
    max_leaves=12,
)


@st.composite
def typed(draw: st.DrawFn, name: str, depth: int = 0) -> dict[str, Any]:
    """An object with the fields of its type, most of them of the right one."""
    fields = types()[name]
    chosen = draw(st.lists(st.sampled_from(sorted(fields)), max_size=6, unique=True))
    content = {}
    for field in chosen:
        kind = fields[field]
        if draw(st.integers(0, 9)) == 0:
            content[field] = draw(VALUES)
        elif kind.fields is not None and depth < 4:
            content[field] = draw(typed(kind.name, depth + 1))
        elif kind.name == "[" and kind.item is not None and kind.item.fields is not None:
            size = draw(st.integers(0, 2))
            content[field] = [draw(typed(kind.item.name, depth + 1)) for _ in range(size)]
        elif kind.name == "i":
            content[field] = draw(st.integers(-2, 70_000))
        elif kind.name == "b":
            content[field] = draw(st.booleans())
        elif kind.name == "{":
            content[field] = draw(
                st.dictionaries(NAMES, st.sampled_from(["a", "1", "2Gi"]), max_size=2)
            )
        elif kind.name == "[":
            content[field] = draw(
                st.lists(st.sampled_from(["a", "b", "ReadWriteOnce"]), max_size=2)
            )
        else:
            content[field] = draw(SCALARS)
    return content


@st.composite
def objects(draw: st.DrawFn) -> tuple[Any, dict[str, Any]]:
    """A kind, and an object that looks like one of it."""
    kind = draw(st.sampled_from(KINDS))
    content = draw(typed(kind.schema)) if kind.schema else {"spec": draw(VALUES)}
    content.pop("kind", None)
    content.pop("apiVersion", None)
    metadata = {"name": draw(st.sampled_from(["a", "b"]))}
    if draw(st.booleans()):
        metadata |= draw(typed("ObjectMeta"))
    return kind, {**content, "metadata": metadata}


def path_of(kind: Any, name: str = "", part: str = "") -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    inside = "/namespaces/default" if kind.is_namespaced else ""
    return "/".join(filter(None, [f"{root}{inside}/{kind.resource}", name, part]))


QUERIES = st.dictionaries(
    st.sampled_from(
        [
            *("limit", "continue", "resourceVersion", "resourceVersionMatch", "fieldSelector"),
            *("labelSelector", "dryRun", "fieldValidation", "gracePeriodSeconds"),
            *("propagationPolicy", "orphanDependents", "includeObject", "sendInitialEvents"),
        ]
    ),
    st.one_of(
        st.text(max_size=6),
        st.sampled_from(
            ["0", "1", "true", "All", "Exact", "NotOlderThan", "Foreground", "Orphan", "a=b,c!=d"]
        ),
    ),
    max_size=3,
)


def check(connection: http.client.HTTPSConnection, api: Client, request: dict[str, Any]) -> int:
    """Send it; gives the code."""
    from urllib.parse import quote, urlencode

    target = quote(request["path"].encode("utf-8", "replace"), safe="/%")
    query = {
        key: value.encode("utf-8", "replace") for key, value in request.get("query", {}).items()
    }
    if query:
        target += f"?{urlencode(query)}"
    headers = api.headers({"Content-Type": request.get("media", "application/json")})
    connection.request(request["method"], target, body=request.get("body"), headers=headers)
    response = connection.getresponse()
    data = response.read()
    assert response.status < 500 or response.status in ALLOWED_5XX, (request, data)
    if response.status >= 400:
        status = json.loads(data)
        assert (status["kind"], status["code"]) == ("Status", response.status)
    return response.status


FUZZ = settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.mark.slow
@FUZZ
@given(
    st.sampled_from(["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]),
    st.lists(
        st.one_of(
            NAMES,
            st.text(max_size=6),
            st.sampled_from(
                ["api", "apis", "v1", "namespaces", "pods", "apps", "status", "openapi"]
            ),
        ),
        max_size=7,
    ),
    QUERIES,
    st.sampled_from(MEDIA),
    st.binary(max_size=60),
)
def test_no_path_and_no_body_breaks_it(
    api: Client,
    connection: http.client.HTTPSConnection,
    method: str,
    parts: list[str],
    query: dict[str, str],
    media: str,
    body: bytes,
) -> None:
    path = "/" + "/".join(parts)
    request = {"method": method, "path": path, "query": query, "media": media, "body": body}
    check(connection, api, request)


@pytest.mark.slow
@FUZZ
@given(objects(), QUERIES)
def test_no_object_breaks_it(
    api: Client,
    connection: http.client.HTTPSConnection,
    made: tuple[Any, dict[str, Any]],
    query: dict[str, str],
) -> None:
    kind, content = made
    body = json.dumps(content).encode("utf-8", "replace")
    post = {"method": "POST", "path": path_of(kind), "body": body, "query": query}
    code = check(connection, api, post)
    name = content["metadata"].get("name")
    if code != 201 or not isinstance(name, str):
        return
    for part in ("", *kind.subresources):
        check(connection, api, {"method": "GET", "path": path_of(kind, name, part)})
        put = {"method": "PUT", "path": path_of(kind, name, part), "body": body}
        check(connection, api, put)
    table = api.call(
        "GET", path_of(kind), headers={"Accept": "application/json;as=Table;g=meta.k8s.io;v=v1"}
    )
    assert table.code == 200, table.content
    check(connection, api, {"method": "DELETE", "path": path_of(kind, name), "query": query})


@pytest.mark.slow
@FUZZ
@given(
    st.sampled_from(KINDS),
    st.sampled_from([JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH]),
    st.one_of(
        VALUES,
        st.lists(
            st.fixed_dictionaries(
                {
                    "op": st.sampled_from(["add", "remove", "replace", "move", "copy", "test"]),
                    "path": st.sampled_from(["", "/spec", "/metadata/labels/a", "/spec/x/0", "/-"]),
                },
                optional={"value": VALUES, "from": st.sampled_from(["", "/metadata", "/spec"])},
            ),
            max_size=4,
        ),
    ),
    st.sampled_from(["", "status", "scale"]),
)
def test_no_patch_breaks_it(
    api: Client,
    connection: http.client.HTTPSConnection,
    kind: Any,
    media: str,
    patch: Any,
    part: str,
) -> None:
    spec = {"containers": [{"name": "c", "image": "c"}]}
    template = {"metadata": {"labels": {"a": "b"}}, "spec": spec}
    selector = {"matchLabels": {"a": "b"}}
    whole = {"selector": selector, "template": template, "replicas": 0}
    base = spec if kind.name == "Pod" else whole
    body = json.dumps({"metadata": {"name": "patched"}, "spec": base}).encode()
    check(connection, api, {"method": "POST", "path": path_of(kind), "body": body})
    for name in ("patched", "default", "node-0"):
        path = path_of(kind, name, part)
        sent = json.dumps(patch).encode("utf-8", "replace")
        check(connection, api, {"method": "PATCH", "path": path, "media": media, "body": sent})


@pytest.mark.slow
@FUZZ
@given(st.binary(max_size=200), st.sampled_from(KINDS))
def test_no_protobuf_breaks_it(
    api: Client, connection: http.client.HTTPSConnection, data: bytes, kind: Any
) -> None:
    media = "application/vnd.kubernetes.protobuf"
    raw = bytes([0x12, len(data) & 0x7F]) + data
    for body in (data, b"k8s\x00" + data, b"k8s\x00" + raw):
        request = {"method": "POST", "path": path_of(kind), "media": media, "body": body}
        check(connection, api, request)


@pytest.mark.slow
@FUZZ
@given(VALUES, st.sampled_from(["binding", "eviction"]))
def test_no_binding_or_eviction_breaks_it(
    api: Client, connection: http.client.HTTPSConnection, value: Any, part: str
) -> None:
    path = f"/api/v1/namespaces/default/pods/a/{part}"
    body = json.dumps(value).encode("utf-8", "replace")
    check(connection, api, {"method": "POST", "path": path, "body": body})


@pytest.mark.slow
@pytest.mark.parametrize("name", ["herz.apiserver", "herz.controllers"])
def test_nothing_was_logged_as_a_bug(api: Client, bugs: list[logging.LogRecord], name: str) -> None:
    assert [record.getMessage() for record in bugs if record.name == name] == []


@pytest.mark.slow
def test_it_is_still_alive_and_its_controllers_too(api: Client) -> None:
    made = {"metadata": {"name": "after"}}
    assert api.post("/api/v1/namespaces", made).code == 201
    with api.watch("/api/v1/namespaces/after/serviceaccounts", resourceVersion="0") as events:
        assert next(events)["object"]["metadata"]["name"] == "default"
