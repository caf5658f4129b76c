"""What is built, when it is built anew, and with which Go."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cluster import build, golang
from tests.cluster.build import BINARIES, MODULE, kubernetes_version


def test_a_changed_pin_changes_the_key(tmp_path: Path) -> None:
    copy = shutil.copytree(MODULE, tmp_path / "module")
    assert build.key(copy) == build.key()
    (copy / "go.mod").write_text((copy / "go.mod").read_text().replace("v1.37.2", "v1.37.3"))
    assert build.key(copy) != build.key()


def test_only_whole_programs_count_as_built(tmp_path: Path) -> None:
    assert build.missing(tmp_path) == list(BINARIES)
    target = build.folder(tmp_path)
    (target / ".partial").mkdir(parents=True)
    (target / ".partial" / "etcd").touch()
    assert len(build.missing(tmp_path)) == len(BINARIES)
    (target / "etcd").touch()
    assert [binary.name for binary in build.missing(tmp_path)] == [
        b.name for b in BINARIES if b.name != "etcd"
    ]


def test_kubernetes_learns_its_version_from_the_pin() -> None:
    assert kubernetes_version("require (\n\tk8s.io/kubernetes v1.37.2\n)\n") == "v1.37.2"
    assert kubernetes_version((MODULE / "go.mod").read_text()).startswith("v1.")


@pytest.mark.parametrize(
    ("answer", "version"),
    [
        ("go version go1.26.8 linux/amd64", (1, 26)),
        ("go version go1.27 linux/amd64", (1, 27)),
        ("go version devel", None),
        ("", None),
    ],
)
def test_the_version_of_go_is_read_from_its_answer(answer: str, version: tuple[int, int] | None) -> None:
    assert golang.version_of(answer) == version


def go_that_says(path: Path, version: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho go version {version} linux/amd64\n")
    path.chmod(0o755)
    return path


def test_an_old_go_is_passed_over_for_the_cached_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    go_that_says(tmp_path / "path/go", "go1.22.1")
    monkeypatch.setenv("PATH", f"{tmp_path}/path:/usr/bin:/bin")
    monkeypatch.delenv("GO", raising=False)
    assert golang.find_go(tmp_path / "cache") is None
    cached = go_that_says(tmp_path / "cache/go/bin/go", "go1.27.3")
    assert golang.find_go(tmp_path / "cache") == cached


def test_the_users_choice_of_go_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = go_that_says(tmp_path / "mine/go", "go1.26.0")
    monkeypatch.setenv("GO", str(chosen))
    assert golang.find_go(tmp_path / "cache") == chosen
