"""The cluster's own binaries, compiled from the Go module proxy with pinned versions into the user's cache.

They lie in ``<cache>/bin/<key>``, where the key is the hash of all pins: a changed pin builds anew, an
unchanged one never does. A binary gets its name only when it is whole, so a build that was cut off goes on
where it stood.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.golang import provide_go
from tests.cluster.shell import ClusterError, locked, say

MODULE = Path(__file__).resolve().parent / "kubernetes"
"""go.mod pins Kubernetes and etcd with everything that they are built from."""
SIGN_OF_LIFE_SECONDS = 20.0


@dataclass(frozen=True)
class Binary:
    """One program: built inside our module, or (with a version) installed as a module of its own."""

    name: str
    package: str
    version: str = ""


BINARIES = (
    Binary("etcd", "go.etcd.io/etcd/server/v3"),
    Binary("kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"),
    Binary("kube-controller-manager", "k8s.io/kubernetes/cmd/kube-controller-manager"),
    Binary("kube-scheduler", "k8s.io/kubernetes/cmd/kube-scheduler"),
    Binary("kubelet", "k8s.io/kubernetes/cmd/kubelet"),
    Binary("kube-proxy", "k8s.io/kubernetes/cmd/kube-proxy"),
    Binary("kubectl", "k8s.io/kubernetes/cmd/kubectl"),
    Binary("pause", "./pause"),
    # Modules of their own, so that their requirements do not mix with Kubernetes'.
    Binary("coredns", "github.com/coredns/coredns", "v1.15.0"),
    Binary("helm", "helm.sh/helm/v4/cmd/helm", "v4.3.1"),
)


def key(module: Path = MODULE) -> str:
    """The hash of everything that decides what comes out."""
    digest = hashlib.sha256()
    for path in (module / "go.mod", module / "go.sum", module / "pause" / "main.go"):
        digest.update(path.read_bytes())
    for binary in BINARIES:
        digest.update(f"{binary.name} {binary.package} {binary.version}\n".encode())
    return digest.hexdigest()[:12]


def folder(cache: Path) -> Path:
    return cache / "bin" / key()


def missing(cache: Path) -> list[Binary]:
    """What is not built yet."""
    return [binary for binary in BINARIES if not (folder(cache) / binary.name).exists()]


def kubernetes_version(go_mod: str) -> str:
    """The pinned Kubernetes, such as ``v1.37.2``."""
    found = re.search(r"^\s*k8s\.io/kubernetes (v\S+)", go_mod, re.MULTILINE)
    if not found:
        raise ClusterError("go.mod requires no k8s.io/kubernetes")
    return found[1]


def linker_flags() -> str:
    """No symbols, and the version, which Kubernetes learns at link time only."""
    version = kubernetes_version((MODULE / "go.mod").read_text())
    major, minor, _ = version[1:].split(".", 2)
    flags = ["-s", "-w"]
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version"):
        for name, value in (("gitVersion", version), ("gitMajor", major), ("gitMinor", minor)):
            flags += ["-X", f"{package}.{name}={value}"]
    return " ".join(flags)


def build(cache: Path) -> Path:
    """Build what is missing; the folder with all programs. Raises ClusterError with the compiler's words."""
    target = folder(cache)
    if not missing(cache):
        return target
    with locked(cache / "build.lock"):
        todo = missing(cache)
        if not todo:
            return target
        target.mkdir(parents=True, exist_ok=True)
        go = provide_go(cache)
        say(
            f"building {len(todo)} of {len(BINARIES)} programs with {go} into {target}; "
            "the first time takes 5 to 10 minutes"
        )
        for position, binary in enumerate(todo, 1):
            build_one(binary, go, target, cache / "build.log", f"{position}/{len(todo)} {binary.name}")
    return target


def build_one(binary: Binary, go: Path, target: Path, log: Path, title: str) -> None:
    """Compile one program under a temporary name, then give it its own."""
    partial = target / ".partial"
    partial.mkdir(exist_ok=True)
    env = {
        **os.environ,
        "CGO_ENABLED": "0",
        "GOTOOLCHAIN": "local",
        "GOBIN": str(partial),
        "GOFLAGS": "-buildvcs=false",
    }
    if binary.version:
        argv = [
            str(go),
            "install",
            "-v",
            "-trimpath",
            "-ldflags",
            "-s -w",
            f"{binary.package}@{binary.version}",
        ]
    else:
        argv = [str(go), "build", "-v", "-mod=readonly", "-trimpath", "-ldflags", linker_flags()]
        argv += ["-o", str(partial / binary.name), binary.package]
    start = time.monotonic()
    say(f"  {title} …")
    with log.open("w+") as output:
        compiler = subprocess.Popen(argv, cwd=MODULE, env=env, stdout=output, stderr=subprocess.STDOUT)
        try:
            while True:
                try:
                    code = compiler.wait(SIGN_OF_LIFE_SECONDS)
                    break
                except subprocess.TimeoutExpired:
                    lines = log.read_text(errors="replace").splitlines()
                    fetched = sum(line.startswith("go: downloading") for line in lines)
                    alive = f"{time.monotonic() - start:.0f} s, {fetched} modules fetched"
                    say(f"  {title}: {alive}, {len(lines) - fetched} packages compiled")
        finally:
            if compiler.poll() is None:
                compiler.terminate()
                compiler.wait()
    if code:
        tail = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
        raise ClusterError(f"the build of {binary.name} failed ({code}); the end of {log}:\n{tail}")
    (partial / binary.name).rename(target / binary.name)
    say(f"  {title}: built in {time.monotonic() - start:.0f} s")
