"""A transport that remembers what it was asked."""

from __future__ import annotations

from typing import Any

from herz.world.kube.kubeconfig import Access
from herz.world.kube.transport import Transport


class Recording(Transport):
    """Remembers verb and target of each request."""

    def __init__(self, access: Access) -> None:
        super().__init__(access)
        self.asked: list[tuple[str, str]] = []

    def _head(self, *given: Any) -> bytes:
        head = super()._head(*given)
        method, target = head.split(b" ")[:2]
        self.asked.append((method.decode(), target.decode()))
        return head
