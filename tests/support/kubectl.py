"""kubectl, where it is on this machine."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

from tests.support.cluster import Client

KUBECTL = shutil.which("kubectl")


class Kubectl:
    """Runs kubectl with the cluster's kubeconfig and a home of its own."""

    def __init__(self, api: Client, home: Path) -> None:
        self.home = home
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "KUBECONFIG": str(api.kubeconfig),
        }

    def __call__(self, *arguments: str, code: int = 0, given: str = "") -> str:
        assert KUBECTL is not None
        done = subprocess.run(
            [KUBECTL, *arguments],
            env=self._environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
        )
        assert done.returncode == code, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout + done.stderr

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--output", "json"))
