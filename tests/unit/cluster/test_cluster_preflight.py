"""What is told before anything starts: every problem at once, each in one line that says what to do."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cluster import images, lifecycle, preflight, ruin
from tests.cluster.__main__ import make_images
from tests.cluster.places import Places
from tests.cluster.preflight import BUILD_BYTES, GIB, RUN_BYTES, Facts, problems
from tests.cluster.shell import ClusterError

GOOD = Facts(free_bytes={"/cache": 20 * GIB}, needed_bytes={"/cache": BUILD_BYTES})


def test_a_good_machine_has_no_problems() -> None:
    assert problems(GOOD) == []


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        (replace(GOOD, root=False), "needs root"),
        (replace(GOOD, system="debian 13"), "debian 13 on x86_64"),
        (replace(GOOD, architecture="aarch64"), "debian 12 on aarch64"),
        (
            replace(GOOD, ports={6443: "kube-apiserver (pid 12)"}),
            "port 6443 is taken by kube-apiserver (pid 12)",
        ),
        (
            replace(GOOD, free_bytes={"/cache": 3 * GIB}),
            "/cache: 3.0 GB free on its disk, and about 8 GB are needed",
        ),
        (
            replace(GOOD, foreign_ranges=["the address 198.18.0.1 of tun0"]),
            "198.18.0.1 of tun0 lies in 198.18.0.0/15",
        ),
        (replace(GOOD, other_cluster="/tmp/other"), "down --state /tmp/other"),
        (replace(GOOD, unknown_bridge=True), "link wsf0"),
        (replace(GOOD, missing_packages=["runc"], apt=False), "no apt-get to install them: runc"),
        (replace(GOOD, places_problem="the state folder is odd"), "the state folder is odd"),
    ],
)
def test_each_problem_is_one_line(facts: Facts, said: str) -> None:
    (line,) = problems(facts)
    assert said in line
    assert "\n" not in line


def test_all_problems_are_told_at_once() -> None:
    bad = replace(
        GOOD, root=False, ports={2379: "etcd (pid 7)", 2380: "etcd (pid 7)"}, free_bytes={"/cache": GIB}
    )
    assert len(problems(bad)) == 4


def test_less_disk_is_needed_once_the_programs_are_built() -> None:
    facts = Facts(free_bytes={"/cache": 3 * GIB}, needed_bytes={"/cache": RUN_BYTES})
    assert problems(facts) == []


def test_missing_tools_are_no_problem_where_apt_can_install_them() -> None:
    assert problems(replace(GOOD, missing_packages=["containerd", "runc"])) == []


def test_a_cluster_without_image_building_may_run_on_another_system() -> None:
    assert problems(replace(GOOD, system="ubuntu 24.04"), builds_images=False) == []


def test_the_holder_of_a_port_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        monkeypatch.setattr(preflight, "PORTS", (port,))
        taken = preflight.taken_ports(Places(tmp_path, tmp_path))
    assert list(taken) == [port]
    assert "python" in taken[port] or "pytest" in taken[port]


@pytest.mark.parametrize(
    ("state", "said"),
    [("/run/x", "under one of"), ("/var/lib/x", "under one of"), ("/tmp/" + "x" * 60, "too long")],
)
def test_a_state_folder_that_cannot_serve_is_refused(state: str, said: str) -> None:
    problem = Places(Path(state), Path("/home/me/.cache/wsfleet")).problem()
    assert problem is not None
    assert said in problem


def test_the_default_state_folder_serves() -> None:
    assert Places(Path("/tmp/wsfleet-cluster"), Path("/home/me/.cache/wsfleet")).problem() is None


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder whose name is short enough for a state folder."""
    with tempfile.TemporaryDirectory(prefix="wsf-", dir="/tmp") as name:
        yield Path(name)


def test_a_folder_that_is_not_a_clusters_is_refused_and_never_cleared(short_path: Path) -> None:
    state = short_path / "mine"
    places = Places(state, short_path / "cache")
    assert places.problem() is None
    state.mkdir()
    assert places.problem() is None
    (state / "letter").write_text("dear")
    assert places.problem() == (f"the state folder {state} exists and is not a cluster's: name an empty one")
    assert ruin.traces(places).state == []
    with pytest.raises(ClusterError, match="nothing was done"):
        lifecycle.down(places)
    assert (state / "letter").read_text() == "dear"
    places.claim()
    assert places.problem() is None
    assert ruin.traces(places).state == [str(state)]


def test_images_are_not_begun_where_they_cannot_be_built(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(preflight, "own_system", lambda: ("ubuntu 24.04", "x86_64"))
    monkeypatch.setattr(images, "build_images", lambda _: pytest.fail("begun"))
    with pytest.raises(ClusterError, match=r"this machine is ubuntu 24\.04 on x86_64"):
        make_images(Places(state=tmp_path / "state", cache=tmp_path / "cache"), None)
