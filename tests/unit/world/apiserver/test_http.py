"""The protocol's edges: who may speak, what is refused and how, in which forms answers come."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from herz.errors import ConfigError
from herz.world.apiserver.embedded import Settings
from tests.support.cluster import JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, Client

CONFIGS = "/api/v1/namespaces/default/configmaps"
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json"


def config(name: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.mark.parametrize("given", ["", "Bearer", "Bearer wrong", "Basic abc", "Bearer \xff"])
def test_who_bears_no_token_is_refused(api: Client, given: str) -> None:
    for path in ("/api/v1/pods", "/version", "/nothing", "/openapi/v3"):
        refused = api.call("GET", path, headers={"Authorization": given})
        assert (refused.code, refused.reason) == (401, "Unauthorized")
        assert refused.content["kind"] == "Status"
    assert api.call("GET", "/livez", headers={"Authorization": given}).code == 200


def test_a_client_that_does_not_know_the_ca_is_not_served(api: Client) -> None:
    with (
        socket.create_connection((api.address.hostname, api.address.port)) as plain,
        pytest.raises(ssl.SSLCertVerificationError),
    ):
        ssl.create_default_context().wrap_socket(plain, server_hostname="127.0.0.1")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/\xff"},
        {"Content-Encoding": "\xff"},
        {"Content-Encoding": "gzip", "Content-Type": "application/json"},
    ],
)
def test_a_body_in_a_form_that_is_not_understood_is_refused(
    api: Client, headers: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """Also where the header's bytes are no text, or the body is not what the header says."""
    for _ in range(2):
        refused = api.call("POST", CONFIGS, config("a"), headers=headers)
        assert (refused.code, refused.reason) == (415, "UnsupportedMediaType")
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_watch_of_an_old_client_is_lines_until_the_connection_ends(api: Client) -> None:
    """HTTP/1.0, which a proxy speaks that was told nothing else, has no chunks."""
    connection = api.connect()
    connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]
    path = "/api/v1/namespaces/default/serviceaccounts?watch=1&resourceVersion=0"
    try:
        connection.request("GET", path, headers=api.headers())
        response = connection.getresponse()
        assert (response.status, response.getheader("Transfer-Encoding")) == (200, None)
        assert b'"type":"ADDED"' in response.readline()
    finally:
        connection.close()


def test_an_address_that_others_can_reach_must_be_meant(tmp_path: Any) -> None:
    for host in ("0.0.0.0", "::", "192.0.2.1", "example.com"):
        with pytest.raises(ConfigError, match="from outside"):
            Settings(tmp_path, host=host)
        assert Settings(tmp_path, host=host, is_open=True).host == host
    for host in ("127.0.0.1", "::1", "localhost"):
        assert Settings(tmp_path, host=host).host == host


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/api/v1/namespaces/default/pods/../../../secrets", 400),
        ("/api/v1/namespaces/default/pods/%2e%2e/x", 400),
        ("/api/v1/namespaces/default/pods/a%2fb", 400),
        ("/api/v1/namespaces/default/pods/a%00", 400),
        ("/api/v1/namespaces/default/pods/%ff", 400),
        ("/api/v1/namespaces/default//pods", 404),
        ("/api/v1/nothing", 404),
        ("/api/v2/pods", 404),
        ("/apis/apps/v1beta1/deployments", 404),
        ("/apis/example.com/v1/things", 404),
        ("/apis/networking.k8s.io/v1/ingresses", 501),
        ("/api/v1/namespaces/default/endpoints", 501),
        ("/api/v1/namespaces/default/pods/p/log", 501),
        ("/api/v1/namespaces/default/pods/p/exec", 501),
        ("/api/v1/namespaces/default/pods/p/nothing", 404),
        ("/api/v1/namespaces/default/nodes", 404),
        ("/api/v1/pods/p", 404),
        ("/" + "a/" * 40, 404),
        ("/etc/passwd", 404),
    ],
)
def test_paths_that_lead_nowhere_say_so(api: Client, path: str, code: int) -> None:
    refused = api.get(path)
    assert refused.code == code, refused.content
    assert refused.content["status"] == "Failure"
    assert refused.content["code"] == code


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"1",
        b"null",
        b'"text"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"metadata": {"name": "x", "labels": ' + b'{"a":' * 3000 + b"1" + b"}" * 3001 + b"}",
        b'{"metadata": []}',
        b'{"metadata": {"name": 7}}',
        b'{"kind": "Pod", "metadata": {"name": "x"}}',
        b'{"apiVersion": "v2", "metadata": {"name": "x"}}',
        b'{"metadata": {"name": "x"}, "data": {"a": 1}}',
        b'{"metadata": {"name": "x"}, "data": {"a": "\\ud800"}}',
        b'{"metadata": {"name": "x", "namespace": "other"}}',
        b'{"metadata": {"name": "x", "resourceVersion": "1"}}',
        b'{"metadata": {"name": "x", "creationTimestamp": "yesterday"}}',
    ],
)
def test_malformed_bodies_are_bad_requests(api: Client, body: bytes) -> None:
    refused = api.call("POST", CONFIGS, body or b" ")
    assert (refused.code, refused.reason) == (400, "BadRequest"), refused.content


@pytest.mark.parametrize(
    "metadata",
    [
        {},
        {"name": "Upper"},
        {"name": "a" * 254},
        {"name": "-a"},
        {"name": "a", "labels": {"bad key": "x"}},
        {"name": "a", "labels": {"k": "x" * 64}},
        {"name": "a", "annotations": {"k": "x" * (256 * 1024 - 100_000)}},
        {"name": "a", "ownerReferences": [{"kind": "Pod"}]},
        {"name": "a", "finalizers": ["no good"]},
    ],
)
def test_wrong_metadata_is_invalid(api: Client, metadata: dict[str, Any]) -> None:
    if "annotations" in metadata:
        metadata = {"name": "a", "annotations": {"bad key": "x"}}
    refused = api.post(CONFIGS, {"metadata": metadata})
    assert (refused.code, refused.reason) == (422, "Invalid"), refused.content
    assert refused.content["details"]["causes"][0]["field"].startswith("metadata")


def test_a_body_that_is_too_large_is_refused_unread(api: Client) -> None:
    refused = api.call("POST", CONFIGS, b" " * 200_001)
    assert (refused.code, refused.reason) == (413, "RequestEntityTooLarge")
    chunks = (b" " * 50_000 for _ in range(5))
    connection = api.connect()
    headers = {**api.headers(), "Content-Type": "application/json"}
    connection.request("POST", CONFIGS, body=chunks, headers=headers, encode_chunked=True)
    assert connection.getresponse().status == 413
    connection.close()


@pytest.mark.parametrize("media", ["text/plain", "application/yaml", "application/cbor"])
def test_bodies_in_other_forms_are_unsupported(api: Client, media: str) -> None:
    refused = api.call("POST", CONFIGS, b"a: 1", media=media)
    assert (refused.code, refused.reason) == (415, "UnsupportedMediaType")


def test_methods_and_forms_that_are_not_there(api: Client) -> None:
    assert api.call("PUT", CONFIGS, {}).code == 405
    assert api.call("OPTIONS", CONFIGS).code == 405
    assert api.call("POST", "/version", {}).code == 405
    assert api.call("GET", CONFIGS, headers={"Accept": "text/html"}).code == 406
    protobuf = {"Accept": "application/vnd.kubernetes.protobuf"}
    assert api.call("GET", CONFIGS, headers=protobuf).code == 406
    both = {"Accept": "application/vnd.kubernetes.protobuf,application/json"}
    assert api.call("GET", CONFIGS, headers=both).code == 200
    assert api.get("/openapi/v2").code == 406


def test_server_side_apply_is_not_there(api: Client) -> None:
    media = "application/apply-patch+yaml"
    refused = api.call("PATCH", f"{CONFIGS}/x", b"{}", media=media, query={"fieldManager": "t"})
    assert (refused.code, refused.reason) == (501, "NotImplemented")
    assert "client-side" in refused.content["message"]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "-1"},
        {"limit": "x"},
        {"watch": "maybe"},
        {"timeoutSeconds": "1e9"},
        {"labelSelector": "a in"},
        {"fieldSelector": "metadata.name"},
        {"fieldSelector": "data.a=1"},
        {"continue": "AAAA"},
        {"resourceVersion": "-1"},
        {"resourceVersionMatch": "Exact"},
        {"resourceVersionMatch": "Sometimes", "resourceVersion": "1"},
        {"resourceVersionMatch": "Exact", "resourceVersion": "0"},
        {"watch": "1", "resourceVersionMatch": "Exact", "resourceVersion": "1"},
        {"sendInitialEvents": "true"},
    ],
)
def test_wrong_parameters_are_refused(api: Client, query: dict[str, str]) -> None:
    assert api.get(CONFIGS, **query).code in (400, 422)


def test_nothing_happens_in_a_dry_run(api: Client) -> None:
    made = api.post(CONFIGS, config("dry", a="1"), dryRun="All")
    assert made.code == 201
    assert "resourceVersion" not in made.content["metadata"]
    assert api.get(f"{CONFIGS}/dry").code == 404
    assert api.post(CONFIGS, config("dry", a="1")).code == 201
    assert api.post(CONFIGS, config("dry", a="1"), dryRun="All").code == 409
    changed = api.patch(f"{CONFIGS}/dry", {"data": {"a": "2"}}, dryRun="All")
    assert changed.content["data"] == {"a": "2"}
    assert api.delete(f"{CONFIGS}/dry", dryRun="All").code == 200
    assert api.get(f"{CONFIGS}/dry").content["data"] == {"a": "1"}
    assert api.post(CONFIGS, config("other"), dryRun="Some").code == 400
    assert api.delete(f"{CONFIGS}/dry").code == 200


def test_unknown_fields_are_refused_told_or_dropped(api: Client) -> None:
    odd = {**config("odd"), "spec": {"x": 1}}
    strict = api.post(CONFIGS, odd, fieldValidation="Strict")
    assert strict.code == 400
    assert 'unknown field "spec"' in strict.content["message"]
    warned = api.post(CONFIGS, odd)
    assert (warned.code, "spec" in warned.content) == (201, False)
    assert "unknown field" in warned.headers["warning"]
    api.delete(f"{CONFIGS}/odd")
    silent = api.post(CONFIGS, odd, fieldValidation="Ignore")
    assert "warning" not in silent.headers
    api.delete(f"{CONFIGS}/odd")


def test_patches_by_their_media_types(api: Client) -> None:
    api.post(CONFIGS, config("patched", a="1", b="2"))
    path = f"{CONFIGS}/patched"
    merged = api.patch(path, {"data": {"a": None, "c": "3"}}, MERGE_PATCH)
    assert merged.content["data"] == {"b": "2", "c": "3"}
    steps = [
        {"op": "test", "path": "/data/b", "value": "2"},
        {"op": "move", "from": "/data/b", "path": "/data/d"},
        {"op": "add", "path": "/metadata/labels", "value": {"x": "y"}},
    ]
    stepped = api.patch(path, steps, JSON_PATCH)
    assert stepped.content["data"] == {"c": "3", "d": "2"}
    assert stepped.content["metadata"]["labels"] == {"x": "y"}
    strategic = api.patch(path, {"data": {"$patch": "replace", "z": "9"}}, STRATEGIC_PATCH)
    assert strategic.content["data"] == {"z": "9"}
    stale = {"metadata": {"resourceVersion": merged.revision}, "data": {"q": "1"}}
    assert api.patch(path, stale).code == 409
    assert api.patch(path, {"metadata": {"uid": "another"}}).code == 409
    assert api.patch(path, {"metadata": {"name": "another"}}).code == 400
    assert api.patch(path, [{"op": "remove", "path": "/data/none"}], JSON_PATCH).code == 422
    assert api.patch(path, [{"op": "jump", "path": "/data"}], JSON_PATCH).code == 400
    assert api.patch(path, {"data": 1}).code == 400
    assert api.patch(f"{CONFIGS}/none", {"data": {}}).code == 404
    api.delete(path)


def test_our_own_kinds_take_what_they_are_given(api: Client) -> None:
    root = "/apis/scheduling.herz.dev/v1alpha1/slaclasses"
    gold = {"metadata": {"name": "gold"}, "spec": {"target": 1.5, "deep": [{"a": [1, 2.25, None]}]}}
    made = api.post(root, gold)
    assert made.code == 201, made.content
    assert made.content["spec"] == gold["spec"]
    assert api.patch(f"{root}/gold", {"spec": {"x": 1}}, STRATEGIC_PATCH).code == 415
    more = api.patch(f"{root}/gold", {"spec": {"x": 1}, "status": {"seen": True}})
    assert "status" not in more.content
    assert more.content["metadata"]["generation"] == 2
    seen = api.patch(f"{root}/gold/status", {"status": {"seen": True}, "spec": None})
    assert (seen.content["status"], seen.content["spec"]["x"]) == ({"seen": True}, 1)
    assert seen.content["metadata"]["generation"] == 2
    api.delete(f"{root}/gold")


def test_tables_and_metadata_as_forms(api: Client) -> None:
    shown = api.call("GET", "/api/v1/nodes", headers={"Accept": TABLE}).content
    assert shown["kind"] == "Table"
    names = [column["name"] for column in shown["columnDefinitions"] if not column["priority"]]
    assert names == ["Name", "Status", "Roles", "Age", "Version"]
    assert shown["rows"][0]["cells"][:3] == ["node-0", "Ready", "<none>"]
    assert shown["rows"][0]["object"]["kind"] == "PartialObjectMetadata"
    bare = api.call(
        "GET", "/api/v1/nodes", headers={"Accept": TABLE}, query={"includeObject": "None"}
    )
    assert "object" not in bare.content["rows"][0]
    partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
    slim = api.call("GET", "/api/v1/nodes", headers={"Accept": partial}).content
    assert slim["kind"] == "PartialObjectMetadataList"
    assert set(slim["items"][0]) == {"kind", "apiVersion", "metadata"}


def test_a_collection_is_deleted_by_its_selector(api: Client) -> None:
    for name in ("one", "two", "three"):
        made = config(name)
        made["metadata"]["labels"] = {"part": "a" if name != "three" else "b"}
        api.post(CONFIGS, made)
    done = api.delete(CONFIGS, labelSelector="part=a")
    assert sorted(item["metadata"]["name"] for item in done.content["items"]) == ["one", "two"]
    left = api.get(CONFIGS, labelSelector="part").content["items"]
    assert [item["metadata"]["name"] for item in left] == ["three"]
    assert api.delete(CONFIGS).code == 200


def test_discovery_and_openapi_name_the_same_things(api: Client) -> None:
    served = {group["name"] for group in api.get("/apis").content["groups"]}
    accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"
    found = api.call("GET", "/apis", headers={"Accept": accept})
    assert found.headers["content-type"] == accept
    assert {item["metadata"]["name"] for item in found.content["items"]} == served
    paths = api.get("/openapi/v3").content["paths"]
    groups = {path.split("/")[1] for path in paths if path.startswith("apis/")}
    assert groups == served
    for path, where in paths.items():
        document = api.get(where["serverRelativeURL"]).content
        listed = {item["name"] for item in api.get(f"/{path}").content["resources"]}
        named = {name.split("/")[-1] for name in document["paths"]} - {"{name}"}
        assert named == {name for name in listed if "/" not in name}
        schemas = document["components"]["schemas"]
        for text in _references(document):
            assert text.removeprefix("#/components/schemas/") in schemas


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [text for item in value.values() for text in _references(item)]
    if isinstance(value, list):
        return [text for item in value for text in _references(item)]
    return []
