"""Certificates, tokens and kubeconfigs of the local cluster.

The control plane's users carry static tokens: one openssl call less each, and a cluster that lives for
hours needs no rotation.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from tests.cluster.addresses import API_PORT, API_SERVICE, MACHINE, MAX_NODES, NodePlan
from tests.cluster.places import Places
from tests.cluster.shell import run

CONTEXT = "wsfleet-local"
EC_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
VALID_DAYS = "3650"


@dataclass(frozen=True)
class User:
    """One who may speak to the API server; those on the machine itself reach it by loopback."""

    file: str
    name: str
    groups: tuple[str, ...] = field(default=())
    on_machine: bool = False


USERS = (
    User("admin", "wsfleet:admin", ("system:masters",), on_machine=True),
    User("controller-manager", "system:kube-controller-manager", on_machine=True),
    User("scheduler", "system:kube-scheduler", on_machine=True),
    User("proxy", "system:kube-proxy"),
    User("coredns", "wsfleet:coredns"),
    *(
        User(NodePlan(n).name, f"system:node:{NodePlan(n).name}", ("system:nodes",))
        for n in range(1, MAX_NODES + 1)
    ),
)
API_NAMES = (
    "localhost",
    "kubernetes",
    "kubernetes.default",
    "kubernetes.default.svc",
    "kubernetes.default.svc.cluster.local",
)


def create(places: Places) -> None:
    """Make all keys, certificates and kubeconfigs in the (fresh) state folder."""
    places.pki.mkdir(mode=0o700)
    for authority in ("ca", "front-ca"):
        _authority(places.pki, authority)
    names = [f"DNS:{name}" for name in API_NAMES] + [
        f"IP:{address}" for address in ("127.0.0.1", MACHINE, API_SERVICE)
    ]
    _certificate(places.pki, "apiserver", "/CN=kube-apiserver", "ca", "serverAuth", ",".join(names))
    kubelet_client = "/O=system:masters/CN=kube-apiserver-kubelet-client"
    _certificate(places.pki, "kubelet-client", kubelet_client, "ca", "clientAuth")
    _certificate(places.pki, "front", "/CN=front-proxy-client", "front-ca", "clientAuth")
    service_accounts = places.pki / "service-accounts.key"
    run(
        "openssl",
        "genpkey",
        "-algorithm",
        "RSA",
        "-pkeyopt",
        "rsa_keygen_bits:2048",
        "-out",
        service_accounts,
    )
    run("openssl", "pkey", "-in", service_accounts, "-pubout", "-out", service_accounts.with_suffix(".pub"))
    _users(places)


def _authority(folder: Path, name: str) -> None:
    usage = "keyUsage=critical,keyCertSign,cRLSign,digitalSignature"
    files = ("-keyout", folder / f"{name}.key", "-out", folder / f"{name}.crt")
    subject = ("-subj", f"/CN=wsfleet-{name}", "-addext", usage)
    run("openssl", "req", "-x509", *EC_KEY, "-days", VALID_DAYS, *subject, *files)


def _certificate(
    folder: Path, name: str, subject: str, authority: str, usage: str, alternatives: str = ""
) -> None:
    """A key ``name`` and its certificate, signed by ``authority``."""
    request, extensions = folder / f"{name}.csr", folder / f"{name}.ext"
    run(
        "openssl",
        "req",
        "-new",
        *EC_KEY,
        "-subj",
        subject,
        "-keyout",
        folder / f"{name}.key",
        "-out",
        request,
    )
    lines = ["basicConstraints=CA:FALSE", "keyUsage=digitalSignature", f"extendedKeyUsage={usage}"]
    if alternatives:
        lines.append(f"subjectAltName={alternatives}")
    extensions.write_text("\n".join(lines) + "\n")
    signer = ("-CA", folder / f"{authority}.crt", "-CAkey", folder / f"{authority}.key", "-CAcreateserial")
    files = ("-extfile", extensions, "-out", folder / f"{name}.crt")
    run("openssl", "x509", "-req", "-in", request, *signer, "-days", VALID_DAYS, *files)


def _users(places: Places) -> None:
    authority = base64.b64encode((places.pki / "ca.crt").read_bytes()).decode()
    rows = []
    for user in USERS:
        token = secrets.token_hex(16)
        rows.append(f'{token},{user.name},{user.name},"{",".join(user.groups)}"\n')
        path = places.kubeconfig if user.file == "admin" else places.pki / f"{user.file}.kubeconfig"
        server = f"https://{'127.0.0.1' if user.on_machine else MACHINE}:{API_PORT}"
        path.touch(mode=0o600)
        path.write_text(json.dumps(kubeconfig(server, authority, user.file, token), indent=1))
    (places.pki / "tokens.csv").write_text("".join(rows))


def kubeconfig(server: str, authority: str, user: str, token: str) -> dict[str, object]:
    """A kubeconfig of one cluster, one user and one context."""
    cluster = {"server": server, "certificate-authority-data": authority}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": {"token": token}}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
    }
