"""The Helm chart as rendered: by helm where it is there, else as helm rendered it last.

What was rendered last lies in `tests/data/deploy`, with the digest of what it was rendered from, so
that a chart which was changed and not rendered anew is noticed without helm. To render anew:
`HELM=path/to/helm python -m tests.support.chart`.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

Content = dict[str, Any]

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "herz"
KEPT = ROOT / "tests" / "data" / "deploy"
NAMESPACE = "herz-system"

VALUES: dict[str, Content] = {
    "default": {},
    "least": {
        "store": {"persistence": {"enabled": False}},
        "leaderElection": {"enabled": False},
        "features": {"preemption": "off", "volumes": False, "gangs": False},
        "flowSchema": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
    },
    "most": {
        "scheduler": {
            "names": ["herz", "default-scheduler"],
            "config": "kind: KubeSchedulerConfiguration\n",
            "extraArguments": ["--no-wait"],
        },
        "features": {"preemption": "evict"},
        "endpoints": {"port": 8443, "tlsSecret": "tls", "metricsTokenSecret": "token"},
        "serviceAccount": {"name": "given"},
        "store": {"persistence": {"storageClassName": "fast"}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"operator": "Exists"}],
        "podAnnotations": {"a": "b"},
        "logFormat": "text",
    },
    "replicas": {
        "replicas": 2,
        "store": {"kind": "postgresql", "postgresql": {"urlSecret": "journal"}},
    },
}
"""Sets of values that are rendered."""


def helm() -> str | None:
    """The program, where there is one."""
    return os.environ.get("HELM") or shutil.which("helm")


def digest() -> str:
    """Of the chart and the sets of values."""
    total = hashlib.sha256(yaml.safe_dump(VALUES).encode())
    for path in sorted(path for path in CHART.rglob("*") if path.is_file()):
        total.update(path.relative_to(CHART).as_posix().encode() + b"\0" + path.read_bytes())
    return total.hexdigest()


def template(values: Content) -> subprocess.CompletedProcess[str]:
    """What helm says."""
    program = helm()
    assert program is not None, "asked only where there is one"
    command = [program, "template", "herz", str(CHART), "--namespace", NAMESPACE]
    return subprocess.run(
        [*command, "--kube-version", "1.36.0", "--values", "-"],
        input=yaml.safe_dump(values),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def kept(name: str) -> str:
    """What was rendered last."""
    return (KEPT / f"{name}.yaml").read_text(encoding="utf-8")


def objects(text: str) -> dict[str, Content]:
    """The objects by kind and name."""
    found = [one for one in yaml.safe_load_all(text) if one]
    return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def granted(rendered: dict[str, Content]) -> set[tuple[str, str, str]]:
    """Verb, group and resource of all that roles grant."""
    return {
        (verb, group, resource)
        for one in rendered.values()
        if one["kind"] in ("ClusterRole", "Role")
        for rule in one["rules"]
        for verb in rule["verbs"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def main() -> None:
    KEPT.mkdir(parents=True, exist_ok=True)
    for name, values in VALUES.items():
        done = template(values)
        if done.returncode:
            sys.exit(done.stderr)
        (KEPT / f"{name}.yaml").write_text(done.stdout, encoding="utf-8")
    (KEPT / "digest.txt").write_text(digest() + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
