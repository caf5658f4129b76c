"""A machine of its own for a test's clients: a network namespace, whose cable can be pulled.

A peer that vanishes sends no FIN and no reset, and acknowledges nothing. On loopback that can't be had:
a closed socket says so, and the kernel answers for whoever sleeps.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

_CLONE_NEWNET = 0x40000000
_PREFIX = "wsfleet-peer-"
_libc = ctypes.CDLL(None, use_errno=True)


class PeerMachine:
    """The far end of a cable. `address` is where its clients find the near end."""

    def __init__(self, name: str, address: str, device: str) -> None:
        self.address = address
        self._name, self._device = name, device

    def connect(self, port: int, receive_buffer_bytes: int = 0) -> socket.socket:
        """A connection from there; a small receive buffer fills soon."""
        with _inside(self._name):
            client = socket.socket()
        if receive_buffer_bytes:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        client.settimeout(10)
        client.connect((self.address, port))
        return client

    def vanish(self) -> None:
        """Pulls the cable: nothing goes out or comes in any more, and nobody is told."""
        _ip("-n", self._name, "link", "set", self._device, "down")


@contextlib.contextmanager
def peer_machine() -> Iterator[PeerMachine]:
    """A machine at the other end of a cable; skips the test where this one may not make any."""
    _clear_ruins()
    number = os.getpid()
    name, near, far = f"{_PREFIX}{number}", f"wsp{number}n", f"wsp{number}f"
    # 198.51.100.0/24 is set aside for examples (RFC 5737), and apart from the local cluster's range.
    first = number % 64 * 4
    here, there = f"198.51.100.{first + 1}", f"198.51.100.{first + 2}"
    try:
        _ip("netns", "add", name)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespace can be made here: {error}")
    try:
        _ip("link", "add", near, "type", "veth", "peer", "name", far, "netns", name)
        _ip("addr", "add", f"{here}/30", "dev", near)
        _ip("link", "set", near, "up")
        _ip("-n", name, "addr", "add", f"{there}/30", "dev", far)
        _ip("-n", name, "link", "set", far, "up")
        yield PeerMachine(name, here, far)
    finally:
        subprocess.run(["ip", "link", "del", near], check=False, capture_output=True)
        _ip("netns", "del", name)


def _clear_ruins() -> None:
    """A test run that was killed left its machine behind: with the namespace goes the cable."""
    for space in Path("/run/netns").glob(f"{_PREFIX}*"):
        pid = space.name.removeprefix(_PREFIX)
        if not Path("/proc", pid).exists():
            subprocess.run(["ip", "netns", "del", space.name], check=False, capture_output=True)


def _ip(*arguments: str) -> None:
    _run("ip", *arguments)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)


@contextlib.contextmanager
def _inside(name: str) -> Iterator[None]:
    """Sockets made meanwhile by this thread are that machine's."""
    with Path("/proc/thread-self/ns/net").open() as own, Path("/run/netns", name).open() as other:
        _enter(other.fileno())
        try:
            yield
        finally:
            _enter(own.fileno())


def _enter(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
