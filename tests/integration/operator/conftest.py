"""An operator from the working tree against the cluster's real API server, and none beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.support.cluster import Client, free_name, new_namespace
from tests.support.operating import OperatorProcess, free_port, no_other_operator, run_operator
from wsfleet.api.crd import FILES, NAME

NAMESPACES = 16
"""More than a module has tests that share an operator."""

Start = Callable[..., OperatorProcess]


@pytest.fixture(scope="module")
def lab(cluster: Client) -> Iterator[Client]:
    """The cluster with this tree's CRD and no operator of its own."""
    there = cluster.kubectl("get", "crd", NAME, "--ignore-not-found", "-o", "name").strip()
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(FILES[0]))
    cluster.wait("the CRD", lambda: "wsfleets" in cluster.kubectl("api-resources", "--cached=false"))
    with no_other_operator(cluster):
        yield cluster
    if not there:
        # A release that is installed later takes over none that is not its own.
        cluster.kubectl("delete", "crd", NAME, "--timeout=60s")


@pytest.fixture
def start(lab: Client, namespace: str, tmp_path: Path) -> Iterator[Start]:
    """Starts operators for the test's namespace; all are gone after it."""
    with ExitStack() as stack:

        def begin(**variables: str) -> OperatorProcess:
            port = free_port()
            return stack.enter_context(run_operator(lab, namespace, tmp_path, port, **variables))

        yield begin


@dataclass
class SharedOperator:
    """One operator for the tests of a module that neither stop it nor count what it does."""

    process: OperatorProcess
    lab: Client
    free: list[str]
    """Namespaces that it looks after; they are made when a test takes one."""

    def take(self) -> str:
        """A namespace of the test's own."""
        return new_namespace(self.lab, self.free.pop())

    def log(self, namespace: str) -> str:
        """What it said of the fleets of a namespace."""
        return "\n".join(line for line in self.process.log().splitlines() if namespace in line)


@pytest.fixture(scope="module")
def shared(
    lab: Client, tmp_path_factory: pytest.TempPathFactory, _namespaces: list[str]
) -> Iterator[SharedOperator]:
    """An operator for many namespaces: a process for each test would take longer than most of them."""
    names = [free_name() for _ in range(NAMESPACES)]
    folder = tmp_path_factory.mktemp("operator")
    with run_operator(lab, "", folder, free_port(), namespaces=",".join(names)) as process:
        operator = SharedOperator(process, lab, names.copy())
        yield operator
    for name in names[len(operator.free) :]:
        lab.kubectl("delete", "namespace", name, "--wait=false")
        _namespaces.append(name)


@pytest.fixture
def served(shared: SharedOperator) -> str:
    """A namespace of the test's own, whose fleets the module's operator looks after."""
    return shared.take()
