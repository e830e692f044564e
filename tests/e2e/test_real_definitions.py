"""The definitions of `deploy/crds` on a real API server: it takes them, and validates by them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.e2e.test_real import pytestmark  # noqa: F401
from tests.support.cluster import Client, kubeconfig_of_tests
from tests.support.definitions import CASES, DEFINITIONS, Content, defined

OURS = "/apis/scheduling.herz.dev/v1alpha1"


@pytest.fixture(scope="module")
def api() -> Iterator[Client]:
    """The server, with our definitions; without them afterwards."""
    kubeconfig = kubeconfig_of_tests()
    assert kubeconfig is not None
    client = Client(kubeconfig)
    with defined(client):
        yield client


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
    (version,) = definition["spec"]["versions"]
    # Where the status is a subresource, a POST leaves it out: it is written after the object.
    status = content.get("status") if "status" in version.get("subresources", {}) else None
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
