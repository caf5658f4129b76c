"""The command line: ``python -m tests.cluster VERB``."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from tests.cluster import archive, build, choice, demo, images, lifecycle, node, preflight
from tests.cluster.places import Places, Record, default_cache, default_state
from tests.cluster.shell import ClusterError, say


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="python -m tests.cluster", description="A local Kubernetes cluster without engine or registry."
    )
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument(
        "--state", type=Path, default=default_state(), help="state folder (default %(default)s)"
    )
    common.add_argument(
        "--cache", type=Path, default=default_cache(), help="programs and image layers (default %(default)s)"
    )
    verbs = top.add_subparsers(dest="verb", required=True, metavar="VERB")

    def verb(name: str, help: str) -> argparse.ArgumentParser:
        return verbs.add_parser(name, help=help, description=help, parents=[common])

    up = verb("up", "start the cluster, or see that the running one is healthy")
    up.add_argument("--nodes", type=int, default=1, choices=range(1, 10), metavar="1..9")
    up.add_argument(
        "--mode", default="nftables", choices=("nftables", "iptables"), help="how kube-proxy works"
    )
    verb("demo", "cluster, images, operator and a sample fleet: what `make up` runs")
    verb("down", "end the cluster and remove all of it")
    verb("status", "what runs, and how much memory it takes")
    verb("build", "build the cluster's programs into the cache")
    load = verb("load", "build the project's images and load them into the nodes")
    load.add_argument(
        "--node", action="append", choices=[f"n{n}" for n in range(1, 10)], help="only this node"
    )
    made = verb("images", "build the project's images")
    made.add_argument(
        "--output", type=Path, help="also write OCI archives into this folder (for docker load, podman load)"
    )
    fault = verb("node", "do something to a node")
    fault.add_argument("act", choices=node.FAULTS)
    fault.add_argument("name", choices=[f"n{n}" for n in range(1, 10)])
    return top


def main(arguments: list[str]) -> int:
    options = parser().parse_args(arguments)
    places = Places(options.state.absolute(), options.cache.absolute())
    try:
        return perform(options, places)
    except ClusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the next `up` goes on from here", file=sys.stderr)
        return 130


def perform(options: argparse.Namespace, places: Places) -> int:
    if options.verb == "build":
        build.build(places.cache)
    elif options.verb == "up":
        lifecycle.up(places, options.nodes, options.mode)
        say(f"export KUBECONFIG={places.kubeconfig} PATH={running(places).binaries}:$PATH")
    elif options.verb == "demo":
        demo.main(places)
    elif options.verb == "down":
        if choice.kind(os.environ) == "current":
            raise ClusterError(
                f"CLUSTER=current is yours to clean; what the demo installed goes by:\n{demo.REMOVAL}"
            )
        left = lifecycle.down(places)
        say(f"left over: {', '.join(left) or 'nothing'}")
        return 1 if left else 0
    elif options.verb == "status":
        lines = lifecycle.status(places)
        print("\n".join(lines) or f"no cluster in {places.state}")
        return 0 if lines else 1
    elif options.verb == "images":
        make_images(places, options.output)
    elif options.verb == "load":
        running(places)
        lifecycle.load(places, make_images(places, None), options.node)
    elif options.verb == "node":
        node.inflict(places, running(places), options.act, options.name)
    return 0


def running(places: Places) -> Record:
    record = Record.read(places)
    if record is None:
        raise ClusterError(f"no cluster in {places.state}: `make up` starts one")
    return record


def make_images(places: Places, output: Path | None) -> list[images.Built]:
    if problems := preflight.images_problems(*preflight.own_system()):
        raise ClusterError("; ".join(problems))
    built = images.build_images(places.cache)
    for one in built:
        say(f"image {one.tag} = {one.pinned}")
        if output:
            output.mkdir(parents=True, exist_ok=True)
            with (output / f"{one.name}.tar").open("wb") as archived:
                archive.write_archive(archived, one.image, [one.tag, one.pinned])
    return built


if __name__ == "__main__":
    os.umask(0o022)
    sys.exit(main(sys.argv[1:]))
