"""Node features that a pod needs before it may run on a node (NodeDeclaredFeatures, 1.36).

A node lists the features it has in `status.declaredFeatures`; the pod's needs are inferred from its
spec. Of the five features that 1.36 knows, two can be needed by a pod that is to be placed; the
others concern only changes of a running pod.
"""

from __future__ import annotations

from herz.model.pod import Pod

RESTART_ALL_CONTAINERS = "RestartAllContainersOnContainerExits"
USER_NAMESPACES_HOST_NETWORK = "UserNamespacesHostNetworkSupport"

KNOWN_FEATURES = (
    "ExtendWebSocketsToKubelet",
    "InPlacePodLevelResourcesVerticalScaling",
    "InPlacePodVerticalScalingInitContainers",
    RESTART_ALL_CONTAINERS,
    USER_NAMESPACES_HOST_NETWORK,
)


def needed_features(pod: Pod) -> tuple[str, ...]:
    """The features that a node must declare to run the pod, sorted; empty for nearly every pod."""
    spec = pod.spec
    needed = []
    if any(
        rule.action == "RestartAllContainers"
        for container in (*spec.containers, *spec.init_containers)
        for rule in container.restart_policy_rules
    ):
        needed.append(RESTART_ALL_CONTAINERS)
    if spec.host_network and spec.host_users is False:
        needed.append(USER_NAMESPACES_HOST_NETWORK)
    return tuple(needed)
