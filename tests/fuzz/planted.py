"""A bug by surface that only bytes that it understands reach: it shows that the search bites."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from herz.commit.audit import entry, proof
from herz.config import files
from herz.model import labels, manifest, quantity
from herz.model.objects import KubernetesObject, Pod
from herz.world.apiserver.http.server import ApiServer
from herz.world.apiserver.objects import patches
from herz.world.kube.informer import Informer
from herz.world.sim import catalogue

SAID: Final = "KeyError: 'planted'"
"""By which it is known."""
EXECUTIONS_MAX: Final = 1_000_000
"""Within which each must be found; a surface's volume is of this order."""
SECONDS_MAX: Final = 3_600
"""For a machine on which these take longer there is no answer."""
QUICK: Final = ("quantities",)
"""Those that CI looks for."""


def _fails_at(home: Any, name: str, at: Callable[[Any], bool]) -> Callable[[], None]:
    """Makes a function fail where what it gives is so."""

    def plant() -> None:
        real = getattr(home, name)

        def planted(*given: Any, **more: Any) -> Any:
            found = real(*given, **more)
            if at(found):
                raise KeyError("planted")
            return found

        setattr(home, name, planted)

    return plant


def _is_small_exponent(found: quantity.Quantity) -> bool:
    return found.format == quantity.DECIMAL_EXPONENT and -5 < found.unscaled < 0


def _is_odd_pod(found: Any) -> bool:
    pods = [one.object for one in found if isinstance(one.object, Pod)]
    return any(len(pod.spec.containers) == 3 and pod.spec.host_network for pod in pods)


def _has_two_profiles(found: Any) -> bool:
    return len(found.profiles) == 2


def _is_released(found: Any) -> bool:
    is_hold = isinstance(found[1], entry.Hold)
    return is_hold and not found[1].is_held and len(found[1].ranges) == 2


def _is_first(found: proof.Proof) -> bool:
    return found.index == 0


def _is_less_of_prefixed(found: labels.Requirement) -> bool:
    return found.operator == labels.LESS and "/" in found.key


def _watches() -> None:
    """An object that is made anew while another is known."""
    real = Informer._take

    def planted(self: Informer, raw: msgspec.Raw) -> KubernetesObject | None:
        before = {key: thing.metadata.uid for key, thing in self.objects.items()}
        taken = real(self, raw)
        if taken is not None and len(before) == 2:
            meta = taken.metadata
            if before.get(meta.key, meta.uid) != meta.uid:
                raise KeyError("planted")
        return taken

    Informer._take = planted  # type: ignore[method-assign]


def _servers() -> None:
    real = ApiServer._body

    async def planted(self: ApiServer, request: Any) -> bytes:
        body = await real(self, request)
        if not body and request.method == "PUT" and "Transfer-Encoding" in request.headers:
            raise KeyError("planted")
        return body

    ApiServer._body = planted  # type: ignore[method-assign]


PLANTED: Final[dict[str, Callable[[], None]]] = {
    "manifests": _fails_at(manifest, "read_manifests", _is_odd_pod),
    "quantities": _fails_at(quantity, "parse_quantity", _is_small_exponent),
    "selectors": _fails_at(labels, "make_requirement", _is_less_of_prefixed),
    "configuration": _fails_at(files, "parse_configuration", _has_two_profiles),
    "scenarios": _fails_at(catalogue, "load_scenario", lambda found: len(found.classes) == 3),
    "journals": _fails_at(entry, "opened", _is_released),
    "proofs": _fails_at(proof, "parse_proof", _is_first),
    "watches": _watches,
    "requests": _fails_at(patches, "json_patch", lambda found: len(found["a"]) == 4),
    "servers": _servers,
}
