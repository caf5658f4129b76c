"""Machine types by name: what they have, what they sustain, what they cost.

Looked up 2026-11-25; list prices on demand, Linux, USD an hour x 730 hours. Sources, all stored
copies and none read live:
  GCP price      cloudpilot-ai/karpenter-provider-gcp, pkg/providers/pricing/initial-prices.json,
                 us-central1, last commit 373e2ba 2026-08-03
  GCP size       Cyclenerd/google-cloud-pricing-cost-calculator, build/gcp.yml
  GCP network    Cyclenerd/google-cloud-compute-machine-types, instances/series/*.sql, 2026-03-22:
                 the most there can be, not a promise
  GCP shared     docs.cloud.google.com/compute/docs/general-purpose-machines, 2026-10-03 (e2-small);
                 e2-micro and e2-medium from an undated note
  GKE reserve    karpenter-provider-gcp and GKE "Plan node sizes": 1,060 m of CPU on shared cores,
                 a quarter of the first 4 GiB, and 100 MiB for eviction
  AWS            aws/karpenter-provider-aws, zz_generated.pricing_aws.go 2026-07-20, us-east-1, and
                 zz_generated.bandwidth.go 2026-08-21 (the baseline, not the burst); T3 memory and
                 m7i/c7 memory from general knowledge, not checked
  Azure          Azure/karpenter-provider-azure, zz_generated.pricing.go 2026-06-18, eastus; B series
                 baseline from learn.microsoft.com sizes-b-series-burstable (undated copy); network of
                 F2s_v2 from Microsoft's documentation source, of D2s_v5 not checked, of B not published
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

MIB = 2**20
GIB = 2**30


@dataclass(frozen=True)
class Machine:
    """One machine type.

    `sustained_cpu_millis` is what the machine gives for hours; less than `cpu_millis` on burstable
    types. Network None: not published, not a limit of the plan. `allocatable_*`: what Kubernetes
    leaves of it for pods, where known.
    """

    name: str
    cpu_millis: int
    memory_bytes: int
    network_bits_per_second: int | None
    sustained_cpu_millis: int
    burstable: bool = False
    monthly_cost_cents: int | None = None
    allocatable_cpu_millis: int | None = None
    allocatable_memory_bytes: int | None = None
    provider: str = ""
    remark: str = ""

    @property
    def network_bytes_per_second(self) -> int | None:
        return None if self.network_bits_per_second is None else self.network_bits_per_second // 8


def _machine(
    provider: str,
    name: str,
    vcpu: int,
    memory_gib: int,
    network_mbps: int | None,
    cents: int,
    *,
    sustained_millis: int | None = None,
    remark: str = "",
) -> Machine:
    return Machine(
        name=name,
        provider=provider,
        cpu_millis=1000 * vcpu,
        sustained_cpu_millis=1000 * vcpu if sustained_millis is None else sustained_millis,
        burstable=sustained_millis is not None,
        memory_bytes=memory_gib * GIB,
        network_bits_per_second=None if network_mbps is None else network_mbps * 10**6,
        monthly_cost_cents=cents,
        remark=remark,
    )


def _shared_core(name: str, memory_gib: int, network_mbps: int, cents: int, sustained: int) -> Machine:
    """A GCP shared-core type, with what GKE leaves of it."""
    memory_bytes = memory_gib * GIB
    return Machine(
        name=name,
        provider="GCP",
        cpu_millis=2000,
        sustained_cpu_millis=sustained,
        burstable=True,
        memory_bytes=memory_bytes,
        network_bits_per_second=network_mbps * 10**6,
        monthly_cost_cents=cents,
        allocatable_cpu_millis=940,
        allocatable_memory_bytes=memory_bytes - memory_bytes // 4 - 100 * MIB,
        remark="shared, short bursts",
    )


_N2 = "list price, no discount"
_BASE = "base network"
_CREDITS = "credits, base network"

_PRESETS = (
    _shared_core("e2-micro", 1, 1000, 611, 250),
    # The seed's machine: 1 Gbps as the document says (published: at most 2); 0.0167529 USD an hour.
    _shared_core("e2-small", 2, 1000, 1223, 500),
    _shared_core("e2-medium", 4, 2000, 2446, 1000),
    _machine("GCP", "e2-standard-2", 2, 8, 4000, 4892),
    _machine("GCP", "e2-standard-4", 4, 16, 8000, 9784),
    _machine("GCP", "e2-standard-8", 8, 32, 16_000, 19_567),
    _machine("GCP", "e2-highcpu-2", 2, 2, 4000, 3611),
    _machine("GCP", "e2-highcpu-4", 4, 4, 8000, 7223),
    _machine("GCP", "e2-highcpu-8", 8, 8, 16_000, 14_445),
    _machine("GCP", "n2-standard-2", 2, 8, 10_000, 7090, remark=_N2),
    _machine("GCP", "n2-standard-4", 4, 16, 10_000, 14_179, remark=_N2),
    _machine("GCP", "t2d-standard-1", 1, 4, 10_000, 3084),
    _machine("GCP", "t2d-standard-2", 2, 8, 10_000, 6168),
    _machine("GCP", "t2d-standard-4", 4, 16, 10_000, 12_336),
    _machine("GCP", "c3-highcpu-4", 4, 8, 23_000, 12_418),
    _machine("AWS", "t3.small", 2, 2, 128, 1518, sustained_millis=400, remark=_CREDITS),
    _machine("AWS", "t3.medium", 2, 4, 256, 3037, sustained_millis=400, remark=_CREDITS),
    _machine("AWS", "c7g.large", 2, 4, 937, 5293, remark=_BASE),
    _machine("AWS", "c7i.large", 2, 4, 781, 6515, remark=_BASE),
    _machine("AWS", "m7i.large", 2, 8, 781, 7358, remark=_BASE),
    _machine("Azure", "B2s", 2, 4, None, 3037, sustained_millis=400, remark="CPU credits"),
    _machine("Azure", "B2ms", 2, 8, None, 6074, sustained_millis=600, remark="CPU credits"),
    _machine("Azure", "D2s_v5", 2, 8, 12_500, 7008),
    _machine("Azure", "F2s_v2", 2, 4, 5000, 6176),
)

MACHINES: Mapping[str, Machine] = MappingProxyType({machine.name: machine for machine in _PRESETS})

# What a burstable machine is taken to sustain where nobody says: e2-small's share.
_SUSTAINED_SHARE = 4


def machine_with(
    base: Machine,
    *,
    cpu_millis: int | None = None,
    memory_bytes: int | None = None,
    network_bits_per_second: int | None = None,
    sustained_cpu_millis: int | None = None,
    burstable: bool | None = None,
    monthly_cost_cents: int | None = None,
) -> Machine:
    """A machine with figures given by hand over those of a type.

    Another CPU or memory makes it another machine: the type's price and what Kubernetes leaves of it
    then no longer hold. CPU given without more is sustained; less sustained CPU makes it burstable.
    """
    cpu = base.cpu_millis if cpu_millis is None else cpu_millis
    memory = base.memory_bytes if memory_bytes is None else memory_bytes
    same = (cpu, memory) == (base.cpu_millis, base.memory_bytes)
    price = base.monthly_cost_cents if same and monthly_cost_cents is None else monthly_cost_cents
    sustained = _sustained(base, cpu, burstable) if sustained_cpu_millis is None else sustained_cpu_millis
    return replace(
        base,
        name=base.name if same else "by hand",
        provider=base.provider if same else "",
        remark=base.remark if same else "",
        cpu_millis=cpu,
        memory_bytes=memory,
        network_bits_per_second=network_bits_per_second or base.network_bits_per_second,
        sustained_cpu_millis=sustained,
        burstable=sustained < cpu if burstable is None else burstable,
        monthly_cost_cents=price,
        allocatable_cpu_millis=base.allocatable_cpu_millis if same else None,
        allocatable_memory_bytes=base.allocatable_memory_bytes if same else None,
    )


def _sustained(base: Machine, cpu_millis: int, burstable: bool | None) -> int:
    if burstable is False:
        return cpu_millis
    if cpu_millis == base.cpu_millis and (base.burstable or burstable is None):
        return base.sustained_cpu_millis
    return max(1, cpu_millis // _SUSTAINED_SHARE) if burstable else cpu_millis


def machine_by_hand(cpu_millis: int, memory_bytes: int, name: str = "by hand") -> Machine:
    """A machine of no known type: dedicated, without a known price, with the seed's 1 Gbps."""
    return Machine(name, cpu_millis, memory_bytes, 10**9, cpu_millis)
