"""The definitions of `deploy/crds` on a real API server: it takes them, and validates by them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import yaml

from tests.e2e.test_real import pytestmark  # noqa: F401
from tests.support.chart import ROOT
from tests.support.cluster import Client, kubeconfig_of_tests
from tests.support.definitions import CASES, Content
from tests.support.live import until

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
OURS = "/apis/scheduling.herz.dev/v1alpha1"


def is_established(definition: Content) -> bool:
    conditions = definition.get("status", {}).get("conditions", [])
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


@pytest.fixture(scope="module")
def api() -> Iterator[Client]:
    """The server, with our definitions; without them afterwards."""
    kubeconfig = kubeconfig_of_tests()
    assert kubeconfig is not None
    client = Client(kubeconfig)
    names = [f"{plural}.scheduling.herz.dev" for plural in CASES]
    for plural in CASES:
        text = (ROOT / "deploy" / "crds" / f"{plural}.yaml").read_text(encoding="utf-8")
        made = client.post(DEFINITIONS, yaml.safe_load(text))
        assert made.code == 201, made.content
    until(
        client,
        lambda found: all(name in found and is_established(found[name]) for name in names),
        DEFINITIONS,
    )
    yield client
    for name in names:
        client.delete(f"{DEFINITIONS}/{name}")


def posted(api: Client, plural: str, name: str, content: Content) -> tuple[int, str]:
    definition = api.get(f"{DEFINITIONS}/{plural}.scheduling.herz.dev").content
    front = {
        "apiVersion": "scheduling.herz.dev/v1alpha1",
        "kind": definition["spec"]["names"]["kind"],
        "metadata": {"name": name},
    }
    path = f"{OURS}/{plural}"
    if definition["spec"]["scope"] == "Namespaced":
        path = f"{OURS}/namespaces/default/{plural}"
    # The status is a subresource, which a POST leaves out: it is written after the object.
    status = content.get("status")
    made = api.post(path, {**front, **content})
    if made.code == 201 and status is not None:
        made = api.patch(f"{path}/{name}/status", {"status": status})
    return made.code, str(made.content.get("message", ""))


@pytest.mark.parametrize("plural", sorted(CASES))
def test_a_definition_takes_what_is_good_and_refuses_what_is_bad(api: Client, plural: str) -> None:
    good, bad = CASES[plural]
    for number, content in enumerate(good):
        code, message = posted(api, plural, f"good-{number}", content)
        assert code in (200, 201), (content, message)
    for number, content in enumerate(bad):
        code, message = posted(api, plural, f"bad-{number}", content)
        assert code == 422, (content, message)


def test_a_class_has_a_name_that_a_label_can_hold(api: Client) -> None:
    (content, *_), _ = CASES["slaclasses"]
    assert posted(api, "slaclasses", "n" * 63, content)[0] == 201
    code, message = posted(api, "slaclasses", "n" * 64, content)
    assert code == 422
    assert "at most 63 characters" in message
