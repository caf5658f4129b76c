"""What the nodes say of themselves, and the few things they are told: the admin port from outside.

From inside the cluster requests go to the pods' own addresses, from outside through the API
server's pod proxy. Every request is bounded in time and size, and so is a whole fleet's round:
pods that hang cost their own fleet a missing sample, and other fleets nothing.
"""

from wsfleet.scrape.figures import NodeFigures, StreamFigures, parse_status
from wsfleet.scrape.nodes import NodeAdmin
from wsfleet.scrape.transport import (
    DirectTransport,
    ProxyTransport,
    ScrapeError,
    Target,
    Transport,
    raise_descriptor_limit,
)
from wsfleet.scrape.turns import due

__all__ = [
    "DirectTransport",
    "NodeAdmin",
    "NodeFigures",
    "ProxyTransport",
    "ScrapeError",
    "StreamFigures",
    "Target",
    "Transport",
    "due",
    "parse_status",
    "raise_descriptor_limit",
]
