"""`/metrics/resources`: kube-scheduler's samples of what each pod asks for and may use."""

from __future__ import annotations

from typing import Any

import pytest

from herz.model.decode import convert
from herz.model.objects import Pod
from herz.world.kube.pod_resources import PodResources
from tests.support.objects import make_pod

Content = dict[str, Any]
Total = dict[tuple[str, str], float]


def container(name: str, requests: Content, limits: Content | None = None, **more: Any) -> Content:
    return {"name": name, "resources": {"requests": requests, "limits": limits or {}}, **more}


def samples(*pods: Pod) -> dict[tuple[str, ...], float]:
    return {
        (family.name, *one.labels.values()): one.value
        for family in PodResources(lambda: pods).collect()
        for one in family.samples
    }


def total(pod: Pod, family: str) -> Total:
    """By resource and unit."""
    found = samples(pod)
    return {(key[6], key[7]): value for key, value in found.items() if key[0] == family}


def pod(*containers: Content, **spec: Any) -> Pod:
    content = {"metadata": {"name": "p", "namespace": "shop"}}
    return convert(Pod, {**content, "spec": {"containers": list(containers), **spec}})


def test_each_pod_and_resource_has_kube_schedulers_labels() -> None:
    given = make_pod("p", {"cpu": "250m"}, node="n", priority=7, scheduler="herz")
    labels = ("shop", "p", "n", "herz", "7", "cpu", "cores")
    assert samples(given) == {("kube_pod_resource_request", *labels): 0.25}
    assert b"kube_pod_resource_request{" in PodResources(lambda: [given]).text()


@pytest.mark.parametrize(
    ("given", "requests", "limits"),
    [
        (
            pod(container("a", {"cpu": "1", "memory": "1Ki"}, {"memory": "2Ki"})),
            {("cpu", "cores"): 1, ("memory", "bytes"): 1024},
            {("memory", "bytes"): 2048},
        ),
        (
            pod(container("a", {"hugepages-2Mi": "4Mi", "example.com/x": "2", "memory": "0"})),
            {("hugepages-2Mi", "bytes"): 4194304, ("example.com/x", ""): 2},
            {},
        ),
        (
            pod(container("a", {"cpu": "1"}), initContainers=[container("i", {"cpu": "3"})]),
            {("cpu", "cores"): 3},
            {},
        ),
        (
            pod(
                container("a", {"cpu": "1"}, {"cpu": "2"}),
                overhead={"cpu": "500m", "memory": "1"},
            ),
            {("cpu", "cores"): 1.5, ("memory", "bytes"): 1},
            {("cpu", "cores"): 2.5},
        ),
        (
            pod(
                container("a", {"cpu": "1"}),
                resources={"requests": {"cpu": "4"}, "limits": {"cpu": "5"}},
            ),
            {("cpu", "cores"): 4},
            {("cpu", "cores"): 5},
        ),
    ],
    ids=["containers", "units", "init", "overhead", "pod level"],
)
def test_requests_and_limits_are_summed_as_kubernetes_does(
    given: Pod, requests: Total, limits: Total
) -> None:
    assert total(given, "kube_pod_resource_request") == requests
    assert total(given, "kube_pod_resource_limit") == limits


def test_a_pod_that_cannot_be_read_hides_no_other() -> None:
    found = samples(make_pod("bad", {"cpu": "x"}), make_pod("good", {"cpu": "1"}))
    assert [key[2] for key in found] == ["good"]
