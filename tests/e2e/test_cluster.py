"""The cluster itself: pods run our images and are reached through Services, from this machine and by name."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest

from tests.support.cluster import Client

pytestmark = pytest.mark.cluster

PORT = 8080
# Leaves at once on SIGTERM: as PID 1, a program without a handler would use up its whole grace period.
SERVER = """
import http.server, os, signal
signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
class Hello(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = f"uid {os.getuid()}".encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
http.server.ThreadingHTTPServer(("", 8080), Hello).serve_forever()
"""


def pod(name: str, image: str, *command: str, restart: str = "Always") -> dict[str, Any]:
    """A pod under the restricted profile with a read-only root."""
    security = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "runAsNonRoot": True,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    probe = {"tcpSocket": {"port": PORT}, "periodSeconds": 1}
    container: dict[str, Any] = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": list(command),
        "securityContext": security,
    }
    if restart == "Always":
        container["readinessProbe"] = probe
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "labels": {"app": name}},
        "spec": {"containers": [container], "restartPolicy": restart},
    }


def serve(cluster: Client, namespace: str) -> None:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "hello"},
        "spec": {"selector": {"app": "hello"}, "ports": [{"port": 80, "targetPort": PORT}]},
    }
    cluster.apply(
        pod("hello", cluster.images["wsnode"], "python3", "-c", SERVER), service, namespace=namespace
    )
    cluster.kubectl("wait", "pod/hello", "--for=condition=Ready", "--timeout=60s", "-n", namespace)


def words_of(cluster: Client, namespace: str, name: str) -> str:
    """What a pod that runs once said, when it has ended well."""

    def phase() -> str | None:
        now: str = cluster.kubectl_json("get", "pod", name, "-n", namespace)["status"]["phase"]
        return now if now in ("Succeeded", "Failed") else None

    ended = cluster.wait(f"the end of pod {name}", phase, 60)
    said = cluster.kubectl("logs", name, "-n", namespace).strip()
    assert ended == "Succeeded", said
    return said


def test_a_pod_answers_through_its_service_to_this_machine(cluster: Client, namespace: str) -> None:
    serve(cluster, namespace)
    url = f"http://{cluster.service_address('hello', namespace)}/"

    def answer() -> bytes:
        with urllib.request.urlopen(url, timeout=2) as response:
            body: bytes = response.read()
        return body

    assert cluster.wait("an answer through the Service", answer) == b"uid 1000"


def test_a_pod_finds_another_by_name(cluster: Client, namespace: str) -> None:
    serve(cluster, namespace)
    client = f"""
import time, urllib.request
for attempt in range(40):
    try:
        answer = urllib.request.urlopen("http://hello.{namespace}.svc.cluster.local/", timeout=2)
        print(answer.read().decode())
        break
    except OSError:
        time.sleep(0.2)
"""
    asker = pod("asker", cluster.images["operator"], "python3", "-c", client, restart="Never")
    cluster.apply(asker, namespace=namespace)
    assert words_of(cluster, namespace, "asker") == "uid 1000"


def test_the_images_carry_the_commands(cluster: Client, namespace: str) -> None:
    for name, image, command in (
        ("node", "wsnode", ("wsnode", "--help")),
        ("tools", "operator", ("wsfleet", "--help")),
        ("nats", "nats", ("nats-server", "--version")),
    ):
        cluster.apply(pod(name, cluster.images[image], *command, restart="Never"), namespace=namespace)
    assert "wsnode" in words_of(cluster, namespace, "node")
    assert "wsfleet" in words_of(cluster, namespace, "tools")
    assert words_of(cluster, namespace, "nats").startswith("nats-server: v2.")
