"""Why the plugin could not do what it was asked, as a person reads it, with an exit code for programs.

PluginError            1
├── UsageError         2  what was asked makes no sense
├── NoSuchError        3  no such fleet, no such pod, or no WsFleets in this cluster at all
├── NotAllowedError    4  RBAC or the credentials stand in the way
├── NoClusterError     5  no cluster, or it does not answer
└── WaitedError        6  what was waited for did not come in time
"""

from __future__ import annotations

import re

from wsfleet.kube.errors import ForbiddenError, KubeError, UnavailableError
from wsfleet.kube.kinds import WSFLEET


class PluginError(Exception):
    """It could not be done; the message says why and what to do."""

    exit_code = 1


class UsageError(PluginError):
    """What was asked makes no sense."""

    exit_code = 2


class NoSuchError(PluginError):
    """What was named is not there."""

    exit_code = 3


class NotAllowedError(PluginError):
    """The user may not."""

    exit_code = 4


class NoClusterError(PluginError):
    """No cluster to ask."""

    exit_code = 5


class WaitedError(PluginError):
    """It did not come in time."""

    exit_code = 6


# The API server's RBAC in its own words.
_FORBIDDEN = re.compile(
    r'User "(?P<user>[^"]*)" cannot (?P<verb>\w+) resource "(?P<resource>[^"]+)"'
    r' in API group "(?P<group>[^"]*)"(?: in the namespace "(?P<namespace>[^"]+)")?'
)


def explained(error: KubeError, server: str) -> PluginError:
    """A call's failure in words; `server` is the API server's address."""
    if isinstance(error, ForbiddenError):
        return NotAllowedError(_forbidden(error, server))
    if isinstance(error, UnavailableError):
        if error.status == 0:
            return NoClusterError(f"no answer from the API server at {server}: {error.message}")
        return NoClusterError(
            f"the API server at {server} can't answer now (HTTP {error.status}): {error.message}"
        )
    if is_unserved(error):
        return NoSuchError(
            f"the cluster at {server} has no {WSFLEET.plural}.{WSFLEET.group}: is wsfleet installed there? "
            "helm install brings the resource and the operator"
        )
    return PluginError(error.message)


def is_unserved(error: KubeError) -> bool:
    """Whether the API server does not know the resource at all: it then answers with plain text."""
    return error.status == 404 and error.message.startswith("404 page not found")


def _forbidden(error: KubeError, server: str) -> str:
    if error.status == 401:
        return (
            f"the API server at {server} does not accept the credentials of the kubeconfig: "
            "they may have expired"
        )
    found = _FORBIDDEN.search(error.message)
    if found is None:
        return f"not allowed: {error.message}"
    resource = found["resource"] if not found["group"] else _with_group(found["resource"], found["group"])
    place = f"in namespace {found['namespace']}" if found["namespace"] else "in all namespaces"
    return (
        f"{found['user']} may not {found['verb']} {resource} {place}: "
        f"a role with the verb {found['verb']} on {resource} is missing"
    )


def _with_group(resource: str, group: str) -> str:
    name, slash, part = resource.partition("/")
    return f"{name}.{group}{slash}{part}"
