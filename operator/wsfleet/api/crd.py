"""The CustomResourceDefinition, made from the models; `python -m wsfleet.api.crd` writes its files.

`--check` writes nothing and exits with 1 when a file on disk is not what the models give.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import yaml

from wsfleet.api.fleet import GROUP, KIND, MAX_NAME_LENGTH, NAME_PATTERN, PLURAL, VERSION
from wsfleet.api.spec import WsFleetSpec
from wsfleet.api.status import WsFleetStatus
from wsfleet.api.structural import structural_schema

NAME = f"{PLURAL}.{GROUP}"
FILES = (Path("crds") / f"{NAME}.yaml", Path("helm/wsfleet/files") / f"{NAME}.yaml")
"""Where the CRD is checked in, from the repository's root: for `kubectl apply`, and for the chart."""

_HEADER = "# Made by `python -m wsfleet.api.crd` from operator/wsfleet/api; edit the models, not this file.\n"

_COLUMNS = (
    ("Ready", "integer", ".status.readyReplicas", "nodes that are ready", 0),
    ("Desired", "integer", ".status.desiredReplicas", "nodes wished for", 0),
    ("Connections", "integer", ".status.connections", "connections of all nodes", 0),
    ("Capacity", "integer", ".status.capacity", "connections that all nodes accept", 0),
    ("CPU %", "number", ".status.cpuPercent", "mean CPU of the ready nodes", 0),
    ("Phase", "string", ".status.phase", "state in one word", 0),
    ("Age", "date", ".metadata.creationTimestamp", "time since the fleet was made", 0),
    ("Profile", "string", ".spec.profile", "how full a node is run", 1),
    ("Last Decision", "string", ".status.lastDecision", "the last scaling decision", 1),
)


def build_crd() -> dict[str, Any]:
    """The CustomResourceDefinition of WsFleet."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": NAME,
            # An uninstalled chart must not take every fleet of the cluster with it.
            "annotations": {"helm.sh/resource-policy": "keep"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": KIND,
                "listKind": f"{KIND}List",
                "plural": PLURAL,
                "singular": KIND.lower(),
                "shortNames": ["wsf"],
                "categories": ["all"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": VERSION,
        "served": True,
        "storage": True,
        "additionalPrinterColumns": [
            {"name": name, "type": kind, "jsonPath": path, "description": description, "priority": priority}
            for name, kind, path, description, priority in _COLUMNS
        ],
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "schema": {"openAPIV3Schema": _root_schema()},
    }


def _root_schema() -> dict[str, Any]:
    name = {
        "type": "string",
        "maxLength": MAX_NAME_LENGTH,
        "pattern": NAME_PATTERN,
        "description": "a DNS label that starts with a letter; names of pods and Services are made of it",
    }
    return {
        "description": "A fleet of WebSocket broadcast nodes.",
        "type": "object",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object", "properties": {"name": name}},
            "spec": structural_schema(WsFleetSpec),
            "status": structural_schema(WsFleetStatus),
        },
    }


class _PlainDumper(yaml.SafeDumper):
    """Without anchors: a repeated part is written out, as people expect of a manifest."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render() -> str:
    """The CRD as the text of its files."""
    return _HEADER + yaml.dump(build_crd(), Dumper=_PlainDumper, sort_keys=False, width=100)


def main(arguments: list[str], root: Path) -> int:
    """Writes the files below `root`, or with `--check` compares them; the process's exit code."""
    if arguments not in ([], ["--check"]):
        print("usage: python -m wsfleet.api.crd [--check]", file=sys.stderr)
        return 2
    text = render()
    stale = [path for path in FILES if not (root / path).is_file() or (root / path).read_text() != text]
    if arguments:
        for path in stale:
            print(f"{path} is not what the models give: run `make manifests`", file=sys.stderr)
        return 1 if stale else 0
    for path in FILES:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path.cwd()))
