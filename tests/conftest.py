"""Fixtures and order of the test session: those without a cluster first, and one only if needed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Awaitable, Callable, Generator, Iterator

import hypothesis
import pytest

from tests.support.cluster import Client, SessionCluster, diagnostics, in_ci, new_namespace, reason_to_skip

CLUSTER = pytest.StashKey[SessionCluster]()
BOUND_SHARE = 0.9
"""Of a test's time limit: a coroutine has to end before it."""
DELETE_SECONDS = 300
"""The namespace controller looks again after half of the pods' longest grace period only."""

# How long an example takes says what else the machine has to do.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[CLUSTER] = SessionCluster()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what asks for the cluster, and move it to the end."""
    for item in items:
        _bound(item)
        if in_ci():
            _allow_second_try(item)
        if {"cluster", "session_cluster"} & set(getattr(item, "fixturenames", ())):
            item.add_marker("cluster")
    items.sort(key=place_of)


def _bound(item: pytest.Item) -> None:
    """Ends a coroutine that waits for ever: uvloop only logs what pytest-timeout raises."""
    if not isinstance(item, pytest.Function) or not asyncio.iscoroutinefunction(item.obj):
        return
    test: Callable[..., Awaitable[None]] = item.obj
    marker = item.get_closest_marker("timeout")
    seconds = marker.args[0] if marker and marker.args else float(item.config.getini("timeout"))

    @functools.wraps(test)
    async def bounded(*args: object, **kwargs: object) -> None:
        async with asyncio.timeout(seconds * BOUND_SHARE):
            await test(*args, **kwargs)

    item.obj = bounded


def _allow_second_try(item: pytest.Item) -> None:
    """Of what depends on processes, a kernel and a cluster beside it. Few may (pyproject), and all are told.

    Not of races, whose seed is a find, unless one did not come to its end in time; nor of pure logic.
    """
    if not {"integration", "e2e"} & set(item.path.parts):
        return
    if item.get_closest_marker("race") is None:
        item.add_marker(pytest.mark.flaky(reruns=1))
    else:
        item.add_marker(pytest.mark.flaky(reruns=1, only_rerun=["TimeoutError"]))


def place_of(item: pytest.Item) -> int:
    """Without a cluster, then what kills it, then what installs in it, then what needs its programs."""
    if item.get_closest_marker("after_build") is not None:
        return 3
    if item.get_closest_marker("cluster") is None:
        return 0
    names = getattr(item, "fixturenames", ())
    return 1 if "own_cluster" in names else 2


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Raise the cluster before the first test that needs it: outside its time limit, with progress shown."""
    if item.get_closest_marker("cluster") and not reason_to_skip():
        capture = item.config.pluginmanager.getplugin("capturemanager")
        with capture.global_and_fixture_disabled():
            item.config.stash[CLUSTER].raise_once()
    return (yield)


def pytest_sessionfinish(session: pytest.Session) -> None:
    left = session.config.stash[CLUSTER].close()
    if left:
        print(f"left over: {', '.join(left)}")
        session.exitstatus = session.exitstatus or pytest.ExitCode.TESTS_FAILED


@pytest.fixture(scope="session")
def session_cluster(request: pytest.FixtureRequest) -> SessionCluster:
    """The session's hold on its cluster, raised at first use; skips without root, but never in CI."""
    if reason := reason_to_skip():
        pytest.skip(reason)
    return request.config.stash[CLUSTER]


@pytest.fixture
def own_cluster(session_cluster: SessionCluster) -> Iterator[SessionCluster]:
    """The session's cluster for a test that harms it; skips where it ran before, or others use it."""
    with session_cluster.exclusively() as alone:
        if not alone:
            pytest.skip("the cluster is not this session's alone, so it is not harmed")
        yield session_cluster


@pytest.fixture(scope="session")
def cluster(session_cluster: SessionCluster) -> Client:
    """The cluster under test, with the project's images loaded."""
    return session_cluster.get()


@pytest.fixture(scope="session")
def _namespaces(cluster: Client) -> Iterator[list[str]]:
    """The namespaces of the session; it ends when they are gone: a reused cluster is left as it was."""
    names: list[str] = []
    yield names
    if names and not in_ci():
        gone = [f"namespace/{name}" for name in names]
        limit = f"--timeout={DELETE_SECONDS}s"
        cluster.kubectl("wait", "--for=delete", *gone, limit, timeout_seconds=DELETE_SECONDS + 10)


@pytest.fixture
def namespace(cluster: Client, _namespaces: list[str]) -> Iterator[str]:
    """A fresh namespace, deleted after the test; what was in it is shown if the test fails."""
    with _fresh_namespace(cluster, _namespaces) as name:
        yield name


@pytest.fixture(scope="module")
def module_namespace(cluster: Client, _namespaces: list[str]) -> Iterator[str]:
    """The same for all tests of a module."""
    with _fresh_namespace(cluster, _namespaces) as name:
        yield name


@contextlib.contextmanager
def _fresh_namespace(cluster: Client, gone: list[str]) -> Iterator[str]:
    name = new_namespace(cluster)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=false")
    gone.append(name)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    given = getattr(item, "funcargs", {})
    name = given.get("namespace") or given.get("module_namespace")
    client = item.config.stash[CLUSTER].client
    if report.failed and report.when != "teardown" and client is not None and isinstance(name, str):
        report.sections.append((f"Cluster, namespace {name}", diagnostics(client, name)))
    return report
