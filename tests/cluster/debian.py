"""The base of the Python images: Debian 12's packages, unpacked without running their scripts, and busybox.

About 56 MB: Python 3.11, its libraries, certificates, time zones and a shell. The packages come from the
machine's apt sources, hence only a Debian 12 machine can build it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

from tests.cluster import archive
from tests.cluster.archive import Layer
from tests.cluster.shell import run, say, timed

PACKAGES = (
    "libc6",
    "libgcc-s1",
    "libstdc++6",
    "zlib1g",
    "libssl3",
    "libexpat1",
    "libffi8",
    "libsqlite3-0",
    "libbz2-1.0",
    "liblzma5",
    "libuuid1",
    "libncursesw6",
    "libtinfo6",
    "libreadline8",
    "libcrypt1",
    "libnsl2",
    "libtirpc3",
    "libdb5.3",
    "python3.11-minimal",
    "libpython3.11-minimal",
    "libpython3.11-stdlib",
    "media-types",
    "netbase",
    "ca-certificates",
    "tzdata",
    "busybox-static",
    "base-files",
)
MERGED = ("bin", "sbin", "lib", "lib64")
DROPPED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/lintian",
    "usr/lib/x86_64-linux-gnu/gconv",
)
UNUSABLE_APPLETS = ("wget", "nslookup")
"""A static busybox crashes when it resolves a name: better no such command than a broken one."""
USERS = {"root": 0, "app": 1000, "nobody": 65534}
APP_USER = str(USERS["app"])
RECIPE = "1"
"""Raise it when the code below makes something else of the same packages."""


def base_key() -> str:
    """What the base depends on: the packages, Debian's point release, and this recipe."""
    try:
        release = Path("/etc/debian_version").read_text().strip()
    except OSError:
        release = "unknown"
    return hashlib.sha256(" ".join([RECIPE, release, *PACKAGES]).encode()).hexdigest()[:12]


def base_root(cache: Path) -> Path:
    """The unpacked base, which also compiles the other layers' byte code."""
    return cache / "images" / f"base-{base_key()}"


def base_layer(cache: Path) -> Layer:
    """The packed base, from the cache or made now (about 5 s and a download of 20 MB)."""
    root = base_root(cache)
    packed = root.with_name(root.name + ".tar")
    if packed.exists() and root.exists():
        return archive.measure(packed)
    with timed("base image built from Debian packages"):
        partial = root.with_name(root.name + ".partial")
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(root, ignore_errors=True)
        partial.mkdir(parents=True)
        _unpack(partial)
        _furnish(partial)
        partial.rename(root)
        compile_bytecode(root, root / "usr/lib/python3.11", "/usr/lib/python3.11")
        return archive.pack(root, packed)


def _unpack(root: Path) -> None:
    packages = root.with_name("debs.partial")
    shutil.rmtree(packages, ignore_errors=True)
    packages.mkdir()
    download = ("apt-get", "-qq", "-o", "APT::Sandbox::User=root", "download", *PACKAGES)
    if subprocess.run(download, cwd=packages, capture_output=True).returncode:
        say("apt knows no packages yet: apt-get update")
        run("apt-get", "update", "-qq")
        run(*download, cwd=packages)
    for name in MERGED:  # the links come first, or the packages would lay real folders in their place
        (root / "usr" / name).mkdir(parents=True)
        (root / name).symlink_to(f"usr/{name}")
    for package in sorted(packages.glob("*.deb")):
        files = subprocess.Popen(["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE)
        subprocess.run(["tar", "-C", root, "-x", "--keep-directory-symlink"], stdin=files.stdout, check=True)
        files.wait()
    shutil.rmtree(packages)


def _furnish(root: Path) -> None:
    """What the packages' scripts would have done, and what a container does not need taken away."""
    (root / "usr/bin/python3").unlink(missing_ok=True)
    (root / "usr/bin/python3").symlink_to("python3.11")
    for applet in run(root / "bin/busybox", "--list").split():
        if not any((root / "usr" / folder / applet).exists() for folder in ("bin", "sbin")):
            (root / "usr/bin" / applet).symlink_to("busybox")
    for name in UNUSABLE_APPLETS:
        (root / "usr/bin" / name).unlink(missing_ok=True)
    authorities = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    (root / "etc/ssl/certs/ca-certificates.crt").write_text("".join(path.read_text() for path in authorities))
    write_users(root)
    for name in ("tmp", "proc", "sys", "dev", "run", "root"):
        (root / name).mkdir(exist_ok=True)
    (root / "tmp").chmod(0o1777)
    for name in DROPPED:
        shutil.rmtree(root / name, ignore_errors=True)


def write_users(root: Path) -> None:
    """/etc/passwd and /etc/group with root, the user that our programs run as, and nobody."""
    (root / "etc").mkdir(parents=True, exist_ok=True)
    passwd = [f"{name}:x:{number}:{number}:{name}:/:/bin/sh\n" for name, number in USERS.items()]
    (root / "etc/passwd").write_text("".join(passwd))
    (root / "etc/group").write_text("".join(f"{name}:x:{number}:\n" for name, number in USERS.items()))


def compile_bytecode(root: Path, folder: Path, installed_as: str, skip: str = "^$") -> None:
    """Compile ``folder`` with the base's own Python, so that a read-only container starts without compiling.

    Paths that match ``skip`` are left out. The byte code is "unchecked": no times are compared, so layers can
    be packed without any.
    """
    libraries = root / "usr/lib/x86_64-linux-gnu"
    interpreter = (
        root / "lib64/ld-linux-x86-64.so.2",
        "--library-path",
        libraries,
        root / "usr/bin/python3.11",
    )
    options = ("-q", "--invalidation-mode", "unchecked-hash", "-x", skip, "-s", folder, "-p", installed_as)
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    command = [str(word) for word in (*interpreter, "-m", "compileall", *options, folder)]
    # Files for other Pythons (templates, newer syntax) do not compile; that is no error.
    subprocess.run(command, env=env | {"PYTHONHOME": str(root / "usr")}, capture_output=True)
