"""A metrics source for HorizontalPodAutoscalers: one figure, served as the external metrics API.

The API server's aggregator asks it over TLS, by an APIService whose Service has this machine as its endpoint.
"""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.cluster.addresses import MACHINE
from tests.cluster.shell import run
from tests.support.cluster import Client

METRIC = "fleet_connections"
_GROUP, _VERSION = "external.metrics.k8s.io", "v1beta1"
_PATH = f"/apis/{_GROUP}/{_VERSION}"


@contextmanager
def metrics_source(
    cluster: Client, namespace: str, folder: Path, figure: Callable[[], float]
) -> Iterator[None]:
    """Serves `figure` as the metric METRIC of any namespace, until the block ends."""
    server = http.server.ThreadingHTTPServer((MACHINE, 0), _handler(figure))
    server.socket = _encrypted(folder).wrap_socket(server.socket, server_side=True)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    try:
        objects = _registration(namespace, server.server_address[1])
        cluster.apply(*objects[:2], namespace=namespace)
        cluster.apply(objects[2])
        cluster.wait("the metrics API", lambda: cluster.kubectl("get", "--raw", _PATH), 30)
        yield
    finally:
        cluster.kubectl("delete", "apiservice", f"{_VERSION}.{_GROUP}", "--ignore-not-found")
        server.shutdown()
        server.server_close()


def _encrypted(folder: Path) -> ssl.SSLContext:
    key, certificate = folder / "metrics.key", folder / "metrics.crt"
    names = ("-subj", "/CN=metrics", "-days", "2", "-nodes")
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256")
    run("openssl", "req", "-x509", *curve, *names, "-keyout", key, "-out", certificate)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context


def _registration(namespace: str, port: int) -> list[dict[str, Any]]:
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "metrics-source"},
        "spec": {"ports": [{"name": "https", "port": 443, "targetPort": port}]},
    }
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": {
            "name": "metrics-source",
            "labels": {"kubernetes.io/service-name": "metrics-source"},
        },
        "addressType": "IPv4",
        "ports": [{"name": "https", "port": port, "protocol": "TCP"}],
        "endpoints": [{"addresses": [MACHINE], "conditions": {"ready": True}}],
    }
    api = {
        "apiVersion": "apiregistration.k8s.io/v1",
        "kind": "APIService",
        "metadata": {"name": f"{_VERSION}.{_GROUP}"},
        "spec": {
            "group": _GROUP,
            "version": _VERSION,
            "groupPriorityMinimum": 100,
            "versionPriority": 100,
            "insecureSkipTLSVerify": True,
            "service": {"name": "metrics-source", "namespace": namespace, "port": 443},
        },
    }
    return [service, endpoints, api]


def _handler(figure: Callable[[], float]) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = self.path.partition("?")[0].rstrip("/")
            kind: dict[str, Any]
            if path == _PATH:
                resource = {"name": METRIC, "namespaced": True, "kind": "ExternalMetricValueList"}
                kind = {
                    "kind": "APIResourceList",
                    "apiVersion": "v1",
                    "groupVersion": f"{_GROUP}/{_VERSION}",
                    "resources": [resource | {"singularName": "", "verbs": ["get"]}],
                }
            elif path.startswith(f"{_PATH}/namespaces/") and path.endswith(f"/{METRIC}"):
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                item = {"metricName": METRIC, "metricLabels": {}, "timestamp": now, "value": f"{figure():g}"}
                kind = {
                    "kind": "ExternalMetricValueList",
                    "apiVersion": f"{_GROUP}/{_VERSION}",
                    "metadata": {},
                    "items": [item],
                }
            else:
                self._answer(404, {})
                return
            self._answer(200, kind)

        def _answer(self, status: int, document: dict[str, Any]) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return Handler
