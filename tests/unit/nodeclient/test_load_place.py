"""Where `wsnode load` connects to: a name that leads elsewhere than before is followed."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from wsnode.load_options import LoadError
from wsnode.load_sockets import Place, Sockets
from wsnode.load_table import ClientTable


class Names:
    """A resolver that leads to one port of this machine, or to nowhere."""

    def __init__(self) -> None:
        self.port: int | None = None
        self.asked: list[str] = []
        self.answers = threading.Event()
        self.answers.set()

    def __call__(self, host: str, port: int, **_: Any) -> list[Any]:
        self.asked.append(threading.current_thread().name)
        assert self.answers.wait(5)
        if self.port is None:
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", self.port))]


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> Names:
    names = Names()
    monkeypatch.setattr(socket, "getaddrinfo", names)
    return names


@contextlib.contextmanager
def door() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as made:
        made.settimeout(5)
        yield made


def looked_up() -> None:
    for thread in threading.enumerate():
        if thread.name == "look a name up":
            thread.join(5)


def test_who_comes_back_goes_where_the_name_leads_now(names: Names) -> None:
    table = ClientTable(1, 1)
    table.grow(3)
    with door() as old, door() as new:
        names.port = old.getsockname()[1]
        sockets = Sockets("odin.default", 80, table)
        for client in (0, 1):
            assert sockets.connect(client) is None
            old.accept()[0].close()
        assert names.asked == ["MainThread"]  # newcomers alone are no reason to ask
        names.port = new.getsockname()[1]
        names.answers.clear()
        sockets.close(0)
        assert sockets.connect(0) is None  # by what was known: nobody waits for the answer
        old.accept()[0].close()
        names.answers.set()
        looked_up()
        assert names.asked == ["MainThread", "look a name up"]
        assert sockets.connect(2) is None
        new.accept()[0].close()
        sockets.close(0)
        assert sockets.connect(0) is None
        assert len(names.asked) == 2  # at most once a second
        sockets.end()


def test_a_name_that_is_gone_keeps_its_last_address(names: Names) -> None:
    names.port = 1
    place = Place("odin.default", 80)
    names.port = None
    place.look_again()
    looked_up()
    assert place.address == (socket.AF_INET, ("127.0.0.1", 1))
    with pytest.raises(LoadError, match="no such name"):
        Place("odin.default", 80)
