"""An operator from the working tree against the cluster's real API server, and none beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.cluster import Client
from tests.support.operating import OperatorProcess, free_port, no_other_operator, run_operator

CRD = Path(__file__).parents[3] / "crds/wsfleets.wsfleet.io.yaml"

Start = Callable[..., OperatorProcess]


@pytest.fixture(scope="session")
def _standing_still(cluster: Client) -> Iterator[ExitStack]:
    """Installed operators go on at the session's end: to start and stop them for each module takes longer."""
    with ExitStack() as stack:
        yield stack


@pytest.fixture(scope="module")
def lab(cluster: Client, _standing_still: ExitStack) -> Client:
    """The cluster with this tree's CRD and no operator of its own."""
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(CRD))
    cluster.wait("the CRD", lambda: "wsfleets" in cluster.kubectl("api-resources", "--cached=false"))
    _standing_still.enter_context(no_other_operator(cluster))
    return cluster


@pytest.fixture
def start(lab: Client, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Starts operators for the test's namespace; all are gone after it."""
    with ExitStack() as stack:

        def begin(**variables: str) -> OperatorProcess:
            port = free_port()
            return stack.enter_context(run_operator(lab, namespace, tmp_path, port, **variables))

        yield begin
