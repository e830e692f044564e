"""The table of fields is complete, and unknown fields of a pod come to light."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from herz.model.decode import decode_pod
from herz.model.fields import (
    IRRELEVANT,
    NODE_SPEC,
    NODE_STATUS,
    POD_SPEC,
    READ,
    REFUSED,
    refused_fields,
    unlisted_fields,
)

_NAMES = json.loads(
    (Path(__file__).resolve().parents[2] / "data" / "kubernetes-1.36-fields.json").read_text()
)


@pytest.mark.parametrize(
    ("kind", "table"),
    [("PodSpec", POD_SPEC), ("NodeSpec", NODE_SPEC), ("NodeStatus", NODE_STATUS)],
)
def test_table_lists_every_field_of_the_api(kind: str, table: dict[str, tuple[str, str]]) -> None:
    assert set(table) == set(_NAMES[kind])


def test_every_field_has_a_use_and_a_reason() -> None:
    for table in (POD_SPEC, NODE_SPEC, NODE_STATUS):
        for name, (use, reason) in table.items():
            assert use in (READ, IRRELEVANT, REFUSED), name
            assert reason, name


def test_unlisted_fields_are_named_in_order() -> None:
    assert unlisted_fields(["containers", "zones", "abc"]) == ("abc", "zones")
    assert unlisted_fields(["containers"]) == ()
    assert refused_fields(["resourceClaims", "containers"]) == ("resourceClaims",)


def test_decode_pod_reports_fields_of_a_newer_api() -> None:
    pod, unlisted = decode_pod(b'{"metadata":{"name":"a"},"spec":{"nodeName":"n","slices":[1]}}')
    assert pod.spec.node_name == "n"
    assert unlisted == ("slices",)
    assert decode_pod(b'{"metadata":{"name":"a"}}')[1] == ()
    assert decode_pod(b'{"spec": null}')[1] == ()
