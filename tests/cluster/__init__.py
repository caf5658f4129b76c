"""A real Kubernetes cluster on one machine, from package registries alone: no container engine, no registry.

Run as root: ``python -m tests.cluster up | status | images | load | node | down`` (``-h`` for the rest).
Only the standard library is used, so ``down`` works without an installed environment.

A node is a network, PID, mount, UTS and IPC namespace with its own containerd, kubelet and kube-proxy; when
its PID 1 ends, the kernel ends its pods and mounts with it. The control plane runs beside it in the
machine's own namespaces. The machine's iptables, nftables, sysctls and mounts are never touched, and
nothing leaves 198.18.0.0/15, the range that RFC 2544 reserves for benchmarks.

Floors, imports only go down::

    addresses, places, shell -> processes, cgroups, network, golang, archive -> build, pki, debian, client
    -> controlplane, balancer, node, images -> preflight, ruin -> lifecycle -> choice -> demo -> __main__
"""
