"""OCI images made by hand: the same files always give the same image, and no engine or registry is needed.

Layout and names follow the OCI image specification (image-layout, manifest and config), which containerd,
Docker (25 and newer) and Podman load.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import stat
import tarfile
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MEDIA = "application/vnd.oci.image"
EPOCH = "1970-01-01T00:00:00Z"
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Layer:
    """A packed root file system (or a part of one)."""

    path: Path
    digest: str
    size: int


@dataclass(frozen=True)
class Blob:
    """A JSON document that is named by its content."""

    data: bytes

    @property
    def digest(self) -> str:
        return "sha256:" + hashlib.sha256(self.data).hexdigest()

    @classmethod
    def of(cls, document: object) -> Blob:
        return cls(json.dumps(document, sort_keys=True).encode())


@dataclass(frozen=True)
class Runtime:
    """How a container of the image starts."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[tuple[str, str], ...] = ()
    user: str = ""
    workdir: str = "/"


@dataclass(frozen=True)
class Image:
    """Layers, how to start them, and the two documents that say so."""

    layers: tuple[Layer, ...]
    config: Blob
    manifest: Blob

    @property
    def id(self) -> str:
        """The image's id: the hash of its configuration, which names its layers. 64 hex digits."""
        return self.config.digest.removeprefix("sha256:")


def make_image(layers: Iterable[Layer], runtime: Runtime) -> Image:
    """Compose an image; without clocks or names, so that the same input has the same id."""
    layers = tuple(layers)
    started = {
        "Env": [f"PATH={PATH}", *(f"{name}={value}" for name, value in runtime.env)],
        "WorkingDir": runtime.workdir,
        "User": runtime.user,
        "Entrypoint": list(runtime.entrypoint) or None,
        "Cmd": list(runtime.command) or None,
    }
    config = Blob.of(
        {
            "architecture": "amd64",
            "os": "linux",
            "created": EPOCH,
            "config": started,
            "rootfs": {"type": "layers", "diff_ids": [layer.digest for layer in layers]},
            "history": [{"created": EPOCH, "created_by": "wsfleet"} for _ in layers],
        }
    )
    manifest = Blob.of(
        {
            "schemaVersion": 2,
            "mediaType": f"{MEDIA}.manifest.v1+json",
            "config": descriptor(f"{MEDIA}.config.v1+json", config.digest, len(config.data)),
            "layers": [descriptor(f"{MEDIA}.layer.v1.tar", layer.digest, layer.size) for layer in layers],
        }
    )
    return Image(layers, config, manifest)


def descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": digest, "size": size}


def pack(source: Path, target: Path) -> Layer:
    """Pack the folder ``source`` as a layer: sorted, owned by root, without times, with normal modes."""
    partial = target.with_name(target.name + ".partial")
    with tarfile.open(partial, "w", format=tarfile.GNU_FORMAT) as tar:
        for folder, folders, files in os.walk(source):
            folders.sort()
            for name in sorted(folders + files):
                path = Path(folder, name)
                _add(tar, path, str(path.relative_to(source)))
            folders[:] = [name for name in folders if not Path(folder, name).is_symlink()]
    partial.rename(target)
    return measure(target)


def _add(tar: tarfile.TarFile, path: Path, name: str) -> None:
    entry, mode = tarfile.TarInfo(name), path.lstat().st_mode
    if stat.S_ISLNK(mode):
        entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, str(path.readlink()), 0o777
        tar.addfile(entry)
    elif stat.S_ISDIR(mode):
        entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if mode & stat.S_ISVTX else 0o755
        tar.addfile(entry)
    elif stat.S_ISREG(mode):
        entry.mode, entry.size = 0o755 if mode & stat.S_IXUSR else 0o644, path.stat().st_size
        with path.open("rb") as content:
            tar.addfile(entry, content)
    else:
        raise ValueError(f"{path}: neither file, folder nor link")


def measure(path: Path) -> Layer:
    """The layer that lies packed in ``path``."""
    with path.open("rb") as packed:
        digest = hashlib.file_digest(packed, "sha256").hexdigest()
    return Layer(path, f"sha256:{digest}", path.stat().st_size)


def write_archive(
    output: IO[bytes], image: Image, names: Iterable[str], leave_out: Collection[str] = ()
) -> None:
    """Write the image as an OCI archive under all ``names``; ``leave_out``: layers that the reader has."""
    entries = []
    for name in names:
        notes = {
            "io.containerd.image.name": name,
            "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1],
        }
        entry = descriptor(f"{MEDIA}.manifest.v1+json", image.manifest.digest, len(image.manifest.data))
        entries.append(entry | {"annotations": notes})
    index = {"schemaVersion": 2, "mediaType": f"{MEDIA}.index.v1+json", "manifests": entries}
    with tarfile.open(fileobj=output, mode="w|") as tar:
        _add_bytes(tar, "oci-layout", json.dumps({"imageLayoutVersion": "1.0.0"}).encode())
        for layer in image.layers:
            if layer.digest not in leave_out:
                entry_info = tarfile.TarInfo(_blob_path(layer.digest))
                entry_info.size = layer.size
                with layer.path.open("rb") as content:
                    tar.addfile(entry_info, content)
        for blob in (image.config, image.manifest):
            _add_bytes(tar, _blob_path(blob.digest), blob.data)
        _add_bytes(tar, "index.json", json.dumps(index).encode())


def _blob_path(digest: str) -> str:
    return "blobs/" + digest.replace(":", "/")


def _add_bytes(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(data)
    tar.addfile(entry, io.BytesIO(data))
