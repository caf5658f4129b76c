"""One command's way to a cluster: credentials, the namespace that is meant, and errors in words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import yaml

from wsfleet.kube.client import KubeClient
from wsfleet.kube.contexts import namespace_of
from wsfleet.kube.errors import KubeError
from wsfleet.kube.login import Login, LoginError
from wsfleet.plugin.errors import NoClusterError, explained


@dataclass(frozen=True, slots=True)
class Where:
    """What the options say about the cluster. An empty namespace is the context's own."""

    namespace: str = ""
    context: str | None = None
    kubeconfig: str | None = None
    all_namespaces: bool = False


@dataclass(frozen=True, slots=True)
class Session:
    """A connection to one cluster."""

    client: KubeClient
    namespace: str
    """Of the fleets that are named."""
    server: str
    all_namespaces: bool = False

    @property
    def scope(self) -> str | None:
        """The namespace to list in, None for all."""
        return None if self.all_namespaces else self.namespace

    @property
    def place(self) -> str:
        """The same in words."""
        return "any namespace" if self.all_namespaces else f"namespace {self.namespace}"


@asynccontextmanager
async def session(where: Where) -> AsyncIterator[Session]:
    """A connection, closed at the end.

    Raises:
        PluginError: no credentials, or a call within failed; the message is for people.
    """
    login = Login(kubeconfig=where.kubeconfig, context=where.context)
    server = "?"
    try:
        client = await login.connect()
        try:
            server = client.server
            namespace = where.namespace or namespace_of(login)
            yield Session(client, namespace, server, where.all_namespaces)
        finally:
            await client.close()
    except LoginError as exc:
        raise NoClusterError(f"{exc}; set KUBECONFIG, or give --kubeconfig and --context") from exc
    except yaml.YAMLError as exc:
        raise NoClusterError(f"the kubeconfig is not YAML: {' '.join(str(exc).split())}") from exc
    except KubeError as exc:
        raise explained(exc, server) from exc
