"""The plugin's command line against a scripted API server, all over real sockets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.kube_api import KubeApi, kube_api
from tests.support.seen_fleets import node_status, seen_fleet, seen_pod
from wsfleet.cli.kubectl import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def api() -> Iterator[KubeApi]:
    """A cluster with the fleet odin and its two nodes."""
    with kube_api() as server:
        server.fleets = [seen_fleet()]
        server.pods = [seen_pod("aaaaa"), seen_pod("bbbbb")]
        server.nodes = {
            "odin-6f7d9c8b5d-aaaaa": node_status(4000),
            "odin-6f7d9c8b5d-bbbbb": node_status(4123),
        }
        yield server


@pytest.fixture
def run(api: KubeApi, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run `kubectl wsfleet …`; gives (exit code, stdout, stderr)."""
    kubeconfig = api.kubeconfig(tmp_path)

    def call(*arguments: str, kubeconfig: str = str(kubeconfig)) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            main([*arguments, "--kubeconfig", kubeconfig])
        out, err = capsys.readouterr()
        code = ended.value.code or 0
        assert isinstance(code, int)
        return code, out, err

    return call
