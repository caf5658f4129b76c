"""A real Kubernetes cluster on one machine, from package registries alone: no container engine, no image registry.

Run as root: ``python -m tests.cluster up | status | images | load | node | down`` (``-h`` for the rest). Only the
standard library is used, so ``down`` works without an installed environment.

A node is a network, PID, mount, UTS and IPC namespace with its own containerd, kubelet and kube-proxy; when its PID 1
ends, the kernel ends its pods and mounts with it. The control plane runs beside it in the machine's own namespace. The
machine's iptables, nftables, sysctls and mounts are never touched, and nothing leaves 198.18.0.0/15 (the range that
RFC 2544 reserves for benchmarks).

Floors, imports only go down::

    shell, addresses, places -> processes, cgroups, golang, archive -> build, pki, network, debian
    -> controlplane, balancer, node, ruin, images -> preflight, lifecycle -> choice, demo -> __main__
"""
