"""Kubernetes' protobuf as JSON would have it; the messages are written here byte by byte."""

from __future__ import annotations

import pytest

from herz.world.apiserver.http.protobuf import decode
from herz.world.apiserver.refusal import RefusedError


def varint(value: int) -> bytes:
    value &= 2**64 - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, *parts: bytes | str) -> bytes:
    data = b"".join(part.encode() if isinstance(part, str) else part for part in parts)
    return varint(field << 3 | 2) + varint(len(data)) + data


def envelope(kind: str, *parts: bytes, api_version: str = "v1") -> bytes:
    names = message(1, message(1, api_version), message(2, kind))
    return b"k8s\x00" + names + message(2, *parts)


def test_a_deployment_has_its_fields_and_no_empty_ones() -> None:
    selector = message(2, message(1, message(1, "app"), message(2, "web")))
    quantity = message(2, message(1, "cpu"), message(2, message(1, "100m")))
    container = message(
        2, message(1, "main"), message(2, "web:1"), message(8, quantity), message(5, "")
    )
    template = message(3, message(2, container, message(3, "Always")))
    rolling = message(2, message(1, number(1, 1), number(2, 0), message(3, "25%")))
    strategy = message(4, message(1, "RollingUpdate"), rolling)
    spec = message(2, number(1, 0), selector, template, strategy, number(5, 0), number(7, 0))
    body = envelope(
        "Deployment", message(1, message(1, "web"), message(8, b"")), spec, api_version="apps/v1"
    )
    assert decode(body, "Deployment") == {
        "kind": "Deployment",
        "apiVersion": "apps/v1",
        "metadata": {"name": "web"},
        "spec": {
            "replicas": 0,
            "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "spec": {
                    "containers": [
                        {
                            "name": "main",
                            "image": "web:1",
                            "resources": {"requests": {"cpu": "100m"}},
                        }
                    ],
                    "restartPolicy": "Always",
                }
            },
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%"}},
        },
    }


def test_fields_that_json_has_further_out_are_put_there() -> None:
    volume = message(1, message(1, "v"), message(2, message(2, b"")))
    config = message(1, message(1, "c"), message(2, message(19, message(1, message(1, "map")))))
    body = envelope("Pod", message(2, volume, config))
    assert decode(body, "Pod")["spec"]["volumes"] == [
        {"name": "v", "emptyDir": {}},
        {"name": "c", "configMap": {"name": "map"}},
    ]


def test_times_bytes_and_negative_numbers() -> None:
    created = message(8, number(1, 1_700_000_000))
    secret = message(2, message(1, "k"), message(2, b"\xff\x00"))
    body = envelope("Secret", message(1, created), secret, number(5, 0))
    found = decode(body, "Secret")
    assert found["metadata"] == {"creationTimestamp": "2023-11-14T22:13:20Z"}
    assert found["data"] == {"k": "/wA="}
    assert found["immutable"] is False
    priority = envelope("PriorityClass", number(2, -5), api_version="scheduling.k8s.io/v1")
    assert decode(priority, "PriorityClass")["value"] == -5


def test_fields_of_another_release_are_dropped() -> None:
    body = envelope("Pod", message(900, "x"), number(901, 1), varint(902 << 3 | 1) + b"12345678")
    assert decode(body, "Pod") == {"kind": "Pod", "apiVersion": "v1"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{}",
        b"k8s\x00\xff",
        b"k8s\x00" + varint(2 << 3 | 2) + b"\x7f",
        envelope("Pod", b"\x0b"),
        envelope("Pod", number(1, 7)),
        envelope("Pod", message(1, message(1, b"\xff"))),
        envelope("Pod", message(1, message(8, number(1, 2**62)))),
        b"k8s\x00" + message(2, b"") + message(3, "gzip"),
    ],
)
def test_malformed_messages_are_bad_requests(body: bytes) -> None:
    with pytest.raises(RefusedError) as refused:
        decode(body, "Pod")
    assert refused.value.code == 400
