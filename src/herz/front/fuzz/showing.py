"""A queued pod in a line: what differs from a plain one."""

from __future__ import annotations

from typing import Any


def pod_words(value: Any) -> str:
    """The pod's reference and the fields that are set, as people write them."""
    item = getattr(value, "item", value)
    meta, spec = item.pod.metadata, item.pod.spec
    said = [f"pod {item.namespace}/{item.name}", f"priority {item.priority}"]
    if hasattr(value, "sequence"):
        said.append(f"sequence {value.sequence}")
    if getattr(value, "attempts", 0):
        said.append(f"attempts {value.attempts}")
    for name, field in (
        ("labels", meta.labels),
        ("annotations", meta.annotations),
        ("created", meta.creation_timestamp),
        ("class", spec.priority_class_name),
        ("nodeSelector", spec.node_selector),
    ):
        if field:
            said.append(f"{name} {field}")
    requests = {name: amount for name, amount in item.requests.items() if name != "pods"}
    if requests:
        said.append(f"requests {requests}")
    return ", ".join(said)
