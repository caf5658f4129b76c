"""Credentials: the pod's own ServiceAccount, or a kubeconfig for use from outside a cluster."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass

from kubernetes.aio.client.api_client import ApiClient
from kubernetes.aio.client.configuration import Configuration
from kubernetes.aio.config import ConfigException, load_incluster_config, load_kube_config

from wsfleet.kube.client import KubeClient, guarded_request

_CALLS_AT_ONCE = 100


class LoginError(Exception):
    """No usable credentials; the message says where they were looked for."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where credentials come from. Without `kubeconfig` and `context` the pod's own come first."""

    kubeconfig: str | None = None
    context: str | None = None

    @property
    def inside(self) -> bool:
        """Whether the operator runs in the cluster that it manages."""
        return not self.kubeconfig and not self.context and "KUBERNETES_SERVICE_HOST" in os.environ

    async def configuration(self) -> Configuration:
        """Address, certificates and token of the API server.

        Raises:
            LoginError: no credentials, or unreadable ones.
        """
        configuration = Configuration()
        try:
            if self.inside:
                load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
            else:
                await load_kube_config(  # type: ignore[no-untyped-call]
                    config_file=self.kubeconfig,
                    context=self.context,
                    client_configuration=configuration,
                    persist_config=False,
                )
        except (ConfigException, OSError) as exc:
            place = "the pod's ServiceAccount" if self.inside else self.kubeconfig or "the kubeconfig"
            raise LoginError(f"no credentials for a Kubernetes cluster in {place}: {exc}") from exc
        return configuration

    async def connect(self, watches: int = 0, guard: Callable[[], None] | None = None) -> KubeClient:
        """A client; it has to be closed. `watches` are held open beside its calls: each has a connection.

        `guard` is asked before each write is sent, and raises where it may not be.
        """
        configuration = await self.configuration()
        configuration.connection_pool_maxsize = _CALLS_AT_ONCE + watches
        if guard is not None:
            configuration.client_session_kwargs = {"request_class": guarded_request(guard)}
        return KubeClient(ApiClient(configuration))
