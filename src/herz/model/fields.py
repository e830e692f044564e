"""Every field of PodSpec, NodeSpec and NodeStatus of Kubernetes 1.36, and what Herz does with it.

A field is `read` (it takes part in placement), `irrelevant` (it can't change where a pod goes), or
`refused` (it may, and Herz doesn't implement it: a pod that uses it isn't placed). A field that is
in no table comes from a newer Kubernetes; the pod is placed with a warning, or refused if strict.
"""

from __future__ import annotations

from collections.abc import Iterable

READ = "read"
IRRELEVANT = "irrelevant"
REFUSED = "refused"

POD_SPEC: dict[str, tuple[str, str]] = {
    "activeDeadlineSeconds": (IRRELEVANT, "the kubelet stops the pod; no scheduler rule reads it"),
    "affinity": (READ, "node affinity; pod affinity and anti-affinity are refused so far"),
    "automountServiceAccountToken": (IRRELEVANT, "a mount inside the pod"),
    "containers": (READ, "requests, host ports, images, restart rules"),
    "dnsConfig": (IRRELEVANT, "name resolution inside the pod"),
    "dnsPolicy": (IRRELEVANT, "name resolution inside the pod"),
    "enableServiceLinks": (IRRELEVANT, "environment variables inside the pod"),
    "ephemeralContainers": (IRRELEVANT, "added to running pods; they may not ask for resources"),
    "hostAliases": (IRRELEVANT, "a file inside the pod"),
    "hostIPC": (IRRELEVANT, "isolation on the chosen node"),
    "hostNetwork": (READ, "makes container ports host ports; a node feature with hostUsers"),
    "hostPID": (IRRELEVANT, "isolation on the chosen node"),
    "hostUsers": (READ, "false with hostNetwork needs a declared node feature"),
    "hostname": (IRRELEVANT, "a name inside the pod"),
    "hostnameOverride": (IRRELEVANT, "a name inside the pod"),
    "imagePullSecrets": (IRRELEVANT, "credentials of the kubelet's pull"),
    "initContainers": (READ, "requests, and host ports of sidecars"),
    "nodeName": (READ, "where the pod is, or the one node it accepts"),
    "nodeSelector": (READ, "labels that the node must have"),
    "os": (IRRELEVANT, "the kubelet checks it; kube-scheduler has no rule on it either"),
    "overhead": (READ, "added to the pod's requests"),
    "preemptionPolicy": (READ, "Never keeps the pod from preempting"),
    "priority": (READ, "order of the queue and of preemption"),
    "priorityClassName": (READ, "resolved to priority when manifests are fed directly"),
    "readinessGates": (IRRELEVANT, "readiness after placement"),
    "resourceClaims": (
        REFUSED,
        "dynamic resource allocation isn't implemented; what the claims of pods on nodes hold of "
        "cpu, memory and huge pages is counted",
    ),
    "resources": (READ, "pod-level requests override the containers' sum"),
    "restartPolicy": (IRRELEVANT, "what the kubelet does when a container ends"),
    "runtimeClassName": (
        IRRELEVANT,
        "the API server turns it into overhead, node selector and tolerations on admission",
    ),
    "schedulerName": (READ, "which profile decides the pod, or that it is not ours"),
    "schedulingGates": (READ, "keep the pod out of the queue"),
    "schedulingGroup": (READ, "the PodGroup of a gang"),
    "securityContext": (IRRELEVANT, "rights inside the pod"),
    "serviceAccount": (IRRELEVANT, "identity of the pod"),
    "serviceAccountName": (IRRELEVANT, "identity of the pod"),
    "setHostnameAsFQDN": (IRRELEVANT, "a name inside the pod"),
    "shareProcessNamespace": (IRRELEVANT, "isolation inside the pod"),
    "subdomain": (IRRELEVANT, "a name inside the pod"),
    "terminationGracePeriodSeconds": (READ, "how long a preempted pod holds its place"),
    "tolerations": (READ, "taints that the pod puts up with"),
    "topologySpreadConstraints": (READ, "even spreading over topology domains"),
    "volumes": (READ, "claims, ephemeral claims, legacy disks and image volumes"),
}

NODE_SPEC: dict[str, tuple[str, str]] = {
    "configSource": (IRRELEVANT, "deprecated; not served any more"),
    "externalID": (IRRELEVANT, "deprecated; nothing reads it"),
    "podCIDR": (IRRELEVANT, "addresses of the node's pods"),
    "podCIDRs": (IRRELEVANT, "addresses of the node's pods"),
    "providerID": (IRRELEVANT, "the cloud's name of the node"),
    "taints": (READ, "keep away pods that don't tolerate them"),
    "unschedulable": (READ, "counts as a taint"),
}

NODE_STATUS: dict[str, tuple[str, str]] = {
    "addresses": (IRRELEVANT, "how to reach the node"),
    "allocatable": (READ, "what pods may take together"),
    "capacity": (READ, "shown to users; placement is bound by allocatable"),
    "conditions": (READ, "shown to users; placement follows the taints made of them"),
    "config": (IRRELEVANT, "deprecated; not served any more"),
    "daemonEndpoints": (IRRELEVANT, "the kubelet's port"),
    "declaredFeatures": (READ, "what pods that need a node feature ask for"),
    "features": (IRRELEVANT, "of the container runtime; no scheduler rule reads it"),
    "images": (READ, "image locality"),
    "nodeInfo": (IRRELEVANT, "versions; what matters of them is in labels"),
    "phase": (IRRELEVANT, "deprecated; nothing sets it"),
    "runtimeHandlers": (IRRELEVANT, "no scheduler rule reads it"),
    "volumesAttached": (IRRELEVANT, "VolumeAttachment objects are read instead"),
    "volumesInUse": (IRRELEVANT, "for the attach-detach controller"),
}

_POD_SPEC_NAMES = frozenset(POD_SPEC)
_REFUSED_NAMES = tuple(sorted(name for name, (use, _) in POD_SPEC.items() if use == REFUSED))


def unlisted_fields(spec_keys: Iterable[str]) -> tuple[str, ...]:
    """The names among a pod's spec fields that Kubernetes 1.36 doesn't have, sorted."""
    unlisted = frozenset(spec_keys) - _POD_SPEC_NAMES
    return tuple(sorted(unlisted)) if unlisted else ()


def refused_fields(spec_keys: Iterable[str]) -> tuple[str, ...]:
    """The names among a pod's spec fields that Herz refuses, sorted."""
    present = set(spec_keys)
    return tuple(name for name in _REFUSED_NAMES if name in present)
