"""Images are the same for the same files, whatever the clock, the order or the owner says."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path

from tests.cluster import archive
from tests.cluster.archive import Runtime, make_image, pack, write_archive

RUNTIME = Runtime(command=("wsnode", "serve"), env=(("A", "b"),), user="1000")


def tree(root: Path, *, turned: bool = False) -> Path:
    """A small file system, made in one order or the other."""
    files = {"usr/bin/tool": "#!/bin/sh\n", "etc/motd": "hello\n", "etc/long": "x" * 20_000}
    for name in sorted(files, reverse=turned):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[name])
    (root / "usr/bin/tool").chmod(0o700 if turned else 0o755)
    (root / "etc/motd").chmod(0o600 if turned else 0o664)
    (root / "bin").symlink_to("usr/bin")
    (root / "tmp").mkdir()
    (root / "tmp").chmod(0o1777)
    return root


def test_the_same_files_make_the_same_layer(tmp_path: Path) -> None:
    one = pack(tree(tmp_path / "one"), tmp_path / "one.tar")
    other_tree = tree(tmp_path / "other", turned=True)
    os.utime(other_tree / "etc/motd", (1, 1))
    other = pack(other_tree, tmp_path / "other.tar")
    assert one.digest == other.digest
    assert one.digest == "sha256:" + hashlib.sha256((tmp_path / "one.tar").read_bytes()).hexdigest()


def test_another_byte_makes_another_image(tmp_path: Path) -> None:
    before = make_image([pack(tree(tmp_path / "a"), tmp_path / "a.tar")], RUNTIME)
    changed = tree(tmp_path / "b")
    (changed / "etc/motd").write_text("hellO\n")
    after = make_image([pack(changed, tmp_path / "b.tar")], RUNTIME)
    assert before.id != after.id


def test_what_is_started_is_part_of_the_id(tmp_path: Path) -> None:
    layer = pack(tree(tmp_path / "a"), tmp_path / "a.tar")
    assert make_image([layer], RUNTIME).id != make_image([layer], Runtime(command=("other",))).id
    assert make_image([layer], RUNTIME) == make_image([layer], RUNTIME)


def test_files_belong_to_root_and_keep_what_matters_of_their_modes(tmp_path: Path) -> None:
    pack(tree(tmp_path / "a"), tmp_path / "a.tar")
    with tarfile.open(tmp_path / "a.tar") as tar:
        members = {member.name: member for member in tar}
    assert {(m.uid, m.gid, m.mtime) for m in members.values()} == {(0, 0, 0)}
    assert members["usr/bin/tool"].mode == 0o755
    assert members["etc/motd"].mode == 0o644
    assert members["tmp"].mode == 0o1777
    assert members["bin"].linkname == "usr/bin"


def test_an_archive_holds_what_its_index_names(tmp_path: Path) -> None:
    image = make_image([pack(tree(tmp_path / "a"), tmp_path / "a.tar")], RUNTIME)
    output = io.BytesIO()
    write_archive(output, image, ["wsfleet.local/x:dev", "wsfleet.local/x:dev-1"])
    output.seek(0)
    with tarfile.open(fileobj=output) as tar:
        contents = {m.name: content.read() for m in tar if (content := tar.extractfile(m))}
    index = json.loads(contents["index.json"])
    names = [entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]]
    assert names == ["wsfleet.local/x:dev", "wsfleet.local/x:dev-1"]
    manifest = json.loads(contents[archive._blob_path(index["manifests"][0]["digest"])])
    for part in (manifest["config"], *manifest["layers"]):
        data = contents[archive._blob_path(part["digest"])]
        assert len(data) == part["size"]
        assert "sha256:" + hashlib.sha256(data).hexdigest() == part["digest"]
    config = json.loads(contents[archive._blob_path(manifest["config"]["digest"])])
    assert config["config"]["Cmd"] == ["wsnode", "serve"]
    assert config["config"]["User"] == "1000"
    assert "A=b" in config["config"]["Env"]


def test_layers_that_the_reader_has_are_not_sent(tmp_path: Path) -> None:
    layer = pack(tree(tmp_path / "a"), tmp_path / "a.tar")
    output = io.BytesIO()
    write_archive(output, make_image([layer], RUNTIME), ["wsfleet.local/x:dev"], leave_out={layer.digest})
    output.seek(0)
    with tarfile.open(fileobj=output) as tar:
        assert archive._blob_path(layer.digest) not in tar.getnames()
