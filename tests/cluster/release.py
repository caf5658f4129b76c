"""The chart of this tree in a cluster: what `make up` installs, and what the end-to-end tests run against."""

from __future__ import annotations

from tests.cluster.client import Client
from tests.cluster.places import REPOSITORY

CHART = REPOSITORY / "helm/wsfleet"
RELEASE = "wsfleet"
SYSTEM_NAMESPACE = "wsfleet-system"
NATS_URL = f"nats://wsfleet-nats.{SYSTEM_NAMESPACE}:4222"
INSTALL_SECONDS = 120


def install_chart(client: Client) -> None:
    """Install the chart with its quick-start NATS, or bring the release that is there to this tree."""
    images = client.images
    values = {
        "operator.image": images["operator"],
        "node.image": images["wsnode"],
        "nats.enabled": "true",
        "nats.image": images["nats"],
    }
    settings = [word for name, value in values.items() for word in ("--set", f"{name}={value}")]
    options = ["--create-namespace", "--wait", "--timeout", f"{INSTALL_SECONDS}s"]
    if client.places is not None:
        # Tests may have applied the CRD to this cluster by hand, and another one than this tree's.
        options += ["--take-ownership", "--force-conflicts"]
    where = ("--namespace", SYSTEM_NAMESPACE)
    client.helm("upgrade", "--install", RELEASE, str(CHART), *where, *options, *settings)
