"""Decoding keeps numbers exact, tolerates nulls, and names the path of a wrong type."""

from __future__ import annotations

import msgspec
import pytest

from herz.errors import ConfigError
from herz.model.decode import decode, decode_pod, decoder, encode
from herz.model.objects import KubernetesObject, Node, Pod


def test_numbers_of_resources_stay_exact() -> None:
    data = b'{"status":{"allocatable":{"a":1.50,"b":9007199254740993.0,"c":1e400,"d":4}}}'
    seen = decode(Node, data).status.allocatable
    assert seen == {"a": "1.50", "b": "9007199254740993.0", "c": "1e400", "d": 4}


def test_null_counts_as_absent() -> None:
    data = b'{"metadata":{"name":"a","labels":null},"spec":{"volumes":null,"priority":null}}'
    pod = decode(Pod, data)
    assert (pod.metadata.labels, pod.spec.volumes, pod.priority) == ({}, (), 0)


@pytest.mark.parametrize(
    ("data", "where"),
    [
        (b'{"spec":{"containers":[{"name":3}]}}', "spec.containers[0].name"),
        (b'{"spec":{"nodeName":["a"]}}', "spec.nodeName"),
        (b"{", ""),
        (b"", ""),
        (b'{"spec":{"nodeName":"\xff"}}', ""),
        (b'{"spec":{"x":' + b"[" * 5000 + b"]" * 5000 + b"}}", ""),
        (b'{"metadata":{"name":1.10}}', "metadata.name"),
    ],
)
def test_wrong_input_is_a_config_error_with_its_path(data: bytes, where: str) -> None:
    with pytest.raises(ConfigError) as caught:
        decode(Pod, data)
    assert caught.value.where == where


def test_a_field_of_a_pod_whose_name_is_no_text_is_refused() -> None:
    with pytest.raises(ConfigError, match="not JSON"):
        decode_pod(b'{"spec":{"\xff":1}}')


def test_encoding_leaves_out_defaults_and_reads_back() -> None:
    data = b'{"kind":"Pod","metadata":{"name":"a"},"spec":{"containers":[{"name":"c","ports":' \
        b'[{"hostIP":"::1","hostPort":5}]}],"nodeName":"n"}}'  # fmt: skip
    pod = decode(Pod, data)
    again = encode(pod)
    assert b"tolerations" not in again
    assert b'"hostIP":"::1"' in again
    assert decode(Pod, again) == pod


def test_any_object_is_told_apart_by_its_kind() -> None:
    union = msgspec.json.Decoder(KubernetesObject, float_hook=str)
    assert isinstance(union.decode(b'{"kind":"Node"}'), Node)
    assert isinstance(union.decode(b'{"kind":"Pod"}'), Pod)
    assert decoder(Pod) is decoder(Pod)


def test_objects_are_frozen() -> None:
    with pytest.raises(AttributeError):
        Pod().metadata = Pod().metadata  # type: ignore[misc]
