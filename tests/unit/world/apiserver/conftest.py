"""One embedded cluster with simulated nodes for the tests of this folder that need a network."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from herz.world.apiserver.embedded import Settings
from herz.world.apiserver.http.server import Limits
from herz.world.apiserver.kubelets import Shape
from tests.support.cluster import Client, running


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    folder = tmp_path_factory.mktemp("cluster")
    limits = Limits(bookmark_s=0.2, body_bytes_max=200_000)
    with running(Settings(folder, limits=limits, nodes=Shape(3))) as cluster:
        yield Client(cluster.kubeconfig)
