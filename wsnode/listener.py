"""The client port."""

from __future__ import annotations

import socket

from wsnode.config.quantities import split_address

SEND_BUFFER_BYTES = 65_536


def bind_listener(address: str, *, shared: bool = False) -> socket.socket:
    """The client port, bound and not yet listening. What clients' sockets inherit is set here, once.

    `shared` lets several processes have it, each with a queue of its own (SO_REUSEPORT).

    Raises:
        OSError: the port is taken, or the address is not this machine's.
    """
    host, port = split_address(address)
    dual = not host and socket.has_dualstack_ipv6()
    listener = socket.socket(socket.AF_INET6 if dual or ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if listener.family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, not dual)
        # Unset, the kernel would hold up to 4 MB for a client that does not read.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listener.setblocking(False)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
