"""A cluster that may be someone's production is named, confirmed, and never chosen by itself."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from tests.cluster import choice
from tests.cluster.__main__ import main
from tests.cluster.choice import Context, confirm, pullable_images, use_current
from tests.cluster.shell import ClusterError

PRODUCTION = Context("prod-eu", "https://10.0.0.1:6443")


def test_the_local_cluster_is_the_default() -> None:
    assert choice.kind({}) == choice.kind({"CLUSTER": ""}) == choice.kind({"CLUSTER": "local"}) == "local"
    assert choice.kind({"CLUSTER": "current"}) == "current"


def test_another_word_is_refused_with_those_allowed() -> None:
    with pytest.raises(ClusterError, match="CLUSTER=prod: allowed are local and current"):
        choice.kind({"CLUSTER": "prod"})


def test_a_program_confirms_by_the_contexts_name() -> None:
    confirm(PRODUCTION, {"CONFIRM_CONTEXT": "prod-eu"}, None)


def test_without_anyone_to_ask_the_context_is_named_and_nothing_done() -> None:
    with pytest.raises(
        ClusterError, match=r"prod-eu \(server https://10.0.0.1:6443\).*CONFIRM_CONTEXT=prod-eu"
    ):
        confirm(PRODUCTION, {}, None)


def test_the_name_of_another_context_confirms_nothing() -> None:
    with pytest.raises(ClusterError, match="CONFIRM_CONTEXT=staging"):
        confirm(PRODUCTION, {"CONFIRM_CONTEXT": "staging"}, lambda _: "prod-eu")


def test_a_person_is_asked_with_context_and_server() -> None:
    asked: list[str] = []

    def answer(question: str) -> str:
        asked.append(question)
        return "prod-eu\n"

    confirm(PRODUCTION, {}, answer)
    assert "prod-eu" in asked[0]
    assert "https://10.0.0.1:6443" in asked[0]
    with pytest.raises(ClusterError, match="not confirmed"):
        confirm(PRODUCTION, {}, lambda _: "yes")


def test_all_that_lacks_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(ClusterError) as caught:
        use_current({})
    for lacking in ("kubectl on PATH", "helm on PATH", "IMAGE_WSNODE, IMAGE_OPERATOR, IMAGE_NATS"):
        assert lacking in str(caught.value)


@pytest.fixture
def a_kubectl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A kubectl that knows of one context, and no helm."""
    program = tmp_path / "kubectl"
    program.write_text(
        '#!/bin/sh\ncase "$*" in *current-context) echo prod-eu;; *) echo https://k:6443;; esac\n'
    )
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.stdin", io.StringIO())
    return program


def test_the_context_comes_first_and_then_all_that_lacks(a_kubectl: Path) -> None:
    with pytest.raises(ClusterError) as caught:
        use_current({"IMAGE_NATS": "nats:2.12"})
    lines = str(caught.value).splitlines()
    assert lines[0] == "CLUSTER=current would use the context prod-eu (server https://k:6443), and needs:"
    assert lines[1] == "  - helm on PATH"
    assert lines[2].startswith("  - images that the cluster can pull; not set: IMAGE_WSNODE, IMAGE_OPERATOR.")
    assert lines[3].endswith("is meant: set CONFIRM_CONTEXT=prod-eu")
    assert len(lines) == 4


def test_a_kubeconfig_without_a_context_is_told_in_kubectls_words(a_kubectl: Path) -> None:
    a_kubectl.write_text("#!/bin/sh\necho 'error: current-context is not set' >&2\nexit 1\n")
    with pytest.raises(
        ClusterError, match=r"a kubeconfig with a current context: .*is not set\n  - helm on PATH"
    ):
        use_current({})


def test_images_must_be_named_for_a_cluster_that_pulls_them() -> None:
    with pytest.raises(ClusterError, match="IMAGE_OPERATOR, IMAGE_NATS"):
        pullable_images({"IMAGE_WSNODE": "r.example/wsnode:1"})
    everything = {
        "IMAGE_WSNODE": "r.example/n:1",
        "IMAGE_OPERATOR": "r.example/o:1",
        "IMAGE_NATS": "nats:2.12",
    }
    assert pullable_images(everything) == {
        "wsnode": "r.example/n:1",
        "operator": "r.example/o:1",
        "nats": "nats:2.12",
    }


def test_down_does_not_take_the_local_cluster_for_ones_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CLUSTER", "current")
    assert main(["down"]) == 1
    assert "helm uninstall wsfleet" in capsys.readouterr().err
