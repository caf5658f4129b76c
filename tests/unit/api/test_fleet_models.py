"""What the models take, fill in and refuse, with the path that an error names."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fleets import fleet_document
from wsfleet.api import InvalidFleetError, WsFleet


def problems(**spec: Any) -> list[str]:
    with pytest.raises(InvalidFleetError) as caught:
        WsFleet.parse(fleet_document(**spec))
    return caught.value.problems


def test_the_smallest_fleet_is_a_balanced_e2_small_with_the_seeds_load() -> None:
    spec = WsFleet.parse(fleet_document()).spec
    assert spec.profile == "Balanced"
    assert spec.instance.type is None
    assert spec.replicas is None
    assert spec.autoscaling is None
    assert spec.load.messages_per_second == 2
    assert spec.load.peak_rate == 4
    assert spec.load.message_bytes == 400
    assert spec.load.publish_rate == 12
    assert spec.load.subscribers_per_channel == 200
    assert (spec.drain.delay_seconds, spec.drain.timeout_seconds) == (10, 300)
    assert spec.nats.stream.name == "ODIN_TOKENS"
    assert spec.nats.stream.subjects == ["odin.token.>"]
    assert spec.nats.stream.max_age_seconds == 30
    assert spec.nats.stream.max_messages == 100_000
    assert spec.nats.stream.max_bytes == 52_428_800
    assert (spec.service.type, spec.service.port) == ("ClusterIP", 80)
    assert spec.overrides.settings() == {}


def test_autoscaling_defaults_are_the_seeds_triggers() -> None:
    autoscaling = WsFleet.parse(fleet_document(autoscaling={"maxReplicas": 4})).spec.autoscaling
    assert autoscaling is not None
    assert (autoscaling.min_replicas, autoscaling.max_replicas, autoscaling.paused) == (1, 4, False)
    assert autoscaling.connections.target_percent == 80
    assert (autoscaling.cpu.target_percent, autoscaling.cpu.sustained_seconds) == (60, 300)
    assert (autoscaling.rejections.per_minute, autoscaling.rejections.sustained_seconds) == (10, 30)
    assert autoscaling.scale_down.stabilization_seconds == 300
    assert autoscaling.scale_down.headroom_percent == 70


def test_quantities_are_numbers_in_the_units_that_the_fields_name() -> None:
    instance = WsFleet.parse(
        fleet_document(
            instance={
                "cpu": 2,
                "sustainedCpu": "500m",
                "memory": "2Gi",
                "network": "1G",
                "reserved": {"cpu": "0.2", "memory": "256Mi"},
            }
        )
    ).spec.instance
    assert instance.cpu_millis == 2000
    assert instance.sustained_cpu_millis == 500
    assert instance.memory_bytes == 2_147_483_648
    assert instance.network_bits_per_second == 1_000_000_000
    assert instance.reserved.cpu_millis == 200
    assert instance.reserved.memory_bytes == 268_435_456


def test_overrides_are_settings_by_their_own_names() -> None:
    spec = WsFleet.parse(
        fleet_document(
            overrides={
                "maxConnections": 12000,
                "pingInterval": "45s",
                "clientBufferBytes": "256Ki",
                "allowedOrigins": ["https://a.example", "https://b.example"],
                "logLevel": "debug",
            }
        )
    ).spec
    assert spec.overrides.settings() == {
        "max_connections": 12000,
        "ping_interval": 45.0,
        "client_buffer_bytes": 262144,
        "allowed_origins": ["https://a.example", "https://b.example"],
        "log_level": "debug",
    }


@pytest.mark.parametrize(
    ("spec", "problem"),
    [
        (
            {"autoscaling": {"minReplicas": 5, "maxReplicas": 4}},
            "spec.autoscaling.minReplicas: minReplicas must not be above maxReplicas",
        ),
        ({"autoscaling": {"minReplicas": 5}}, "spec.autoscaling.maxReplicas: Field required"),
        ({"instance": {"cpu": 2}}, "spec.instance.memory: memory must be given where cpu is and no type"),
        (
            {"overrides": {"cpuRejectThreshold": 85, "cpuPauseThreshold": 80}},
            "spec.overrides.cpuRejectThreshold: cpuRejectThreshold must not be above cpuPauseThreshold",
        ),
        (
            {"overrides": {"cpuPauseThreshold": 70}},
            "spec.overrides.cpuPauseThreshold: cpuPauseThreshold must not be below the profile's reject "
            "threshold (70 Conservative, 75 Balanced, 80 Aggressive); set cpuRejectThreshold too",
        ),
        (
            {"overrides": {"feed": "core", "republishSubject": "ws.live.>"}},
            "spec.overrides.republishSubject: republishSubject needs the stream that feed core does without",
        ),
        (
            {"overrides": {"maxConnections": 10000, "maxGoroutines": 20019}},
            "spec.overrides.maxGoroutines: maxGoroutines must be at least twice maxConnections + "
            "workerPoolSize + 20",
        ),
        (
            {"overrides": {"pingTimeout": "30s", "pingInterval": "30s"}},
            "spec.overrides.pingTimeout: pingTimeout must be above pingInterval (27s when left out)",
        ),
        (
            {"overrides": {"pingTimeout": 27}},
            "spec.overrides.pingTimeout: pingTimeout must be above pingInterval (27s when left out)",
        ),
        (
            {"overrides": {"pingInterval": "1m"}},
            "spec.overrides.pingInterval: pingInterval must be below pingTimeout (60s when left out)",
        ),
        (
            {"overrides": {"clientBufferTotalBytes": "1Mi", "clientBufferBytes": "2Mi"}},
            "spec.overrides.clientBufferTotalBytes: clientBufferTotalBytes must not be below "
            "clientBufferBytes (128Ki when left out)",
        ),
        (
            {"overrides": {"clientBufferTotalBytes": "64Ki"}},
            "spec.overrides.clientBufferTotalBytes: clientBufferTotalBytes must not be below "
            "clientBufferBytes (128Ki when left out)",
        ),
        (
            {"overrides": {"drainDelay": "31s", "drainTimeout": "30s"}},
            "spec.overrides.drainTimeout: drainTimeout must not be below drainDelay "
            "(spec.drain.delaySeconds when left out)",
        ),
        (
            {"overrides": {"drainTimeout": 9}},
            "spec.overrides.drainTimeout: drainTimeout must not be below drainDelay "
            "(spec.drain.delaySeconds when left out)",
        ),
        (
            {"drain": {"timeoutSeconds": 60}, "overrides": {"drainDelay": "61s"}},
            "spec.overrides.drainDelay: drainDelay must not be above drainTimeout "
            "(spec.drain.timeoutSeconds when left out)",
        ),
        ({"overrides": {"drainDelay": 301}}, "spec.overrides.drainDelay: must be from 0s to 300s"),
        ({"overrides": {"jsStreamMaxAge": "0s"}}, "spec.overrides.jsStreamMaxAge: must be from 1s to 86400s"),
        ({"overrides": {"jsStreamName": "X"}}, "spec.overrides.jsStreamName: unknown field"),
        ({"overrides": {"maxConnexions": 5}}, "spec.overrides.maxConnexions: unknown field"),
        ({"overrides": {"addr": ":1"}}, "spec.overrides.addr: unknown field"),
        ({"overrides": {"natsUrl": "x"}}, "spec.overrides.natsUrl: unknown field"),
        ({"overrides": {"pingInterval": "0s"}}, "spec.overrides.pingInterval: must be from 1s to 3600s"),
        (
            {"instance": {"cpu": 1.5}},
            "spec.instance.cpu: must be an integer or a string such as 2, 0.5 or 1800m",
        ),
        (
            {"instance": {"memory": "2GB"}},
            "spec.instance.memory: must be a quantity such as 52428800, 50Mi or 50M",
        ),
        (
            {"drain": {"delaySeconds": 60, "timeoutSeconds": 30}},
            "spec.drain.timeoutSeconds: timeoutSeconds must not be below delaySeconds",
        ),
        (
            {"load": {"messagesPerSecond": 3, "peakMessagesPerSecond": 2}},
            "spec.load.peakMessagesPerSecond: peakMessagesPerSecond must not be below messagesPerSecond",
        ),
        (
            {"sizing": {"costs": "Figures"}},
            "spec.sizing.figures: figures must be given when costs is Figures, and only then",
        ),
        (
            {"template": {"env": [{"name": "TZ", "value": "UTC"}, {"name": "NATS_URL"}]}},
            "spec.template.env[1].name: settings of the node go into spec.overrides and spec.nats, "
            "not into the environment",
        ),
        (
            {"template": {"labels": {"wsfleet.io/serving": "false"}}},
            "spec.template.labels: keys under wsfleet.io/, app.kubernetes.io/{name,instance,managed-by} and "
            "controller.kubernetes.io/pod-deletion-cost are the operator's own",
        ),
        (
            {"template": {"annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5000"}}},
            "spec.template.annotations: keys under wsfleet.io/, app.kubernetes.io/{name,instance,managed-by} "
            "and controller.kubernetes.io/pod-deletion-cost are the operator's own",
        ),
        ({"template": {"serviceAccountName": "root"}}, "spec.template.serviceAccountName: unknown field"),
        ({"template": {"volumes": []}}, "spec.template.volumes: unknown field"),
    ],
)
def test_a_wrong_fleet_is_refused_with_the_fields_path(spec: dict[str, Any], problem: str) -> None:
    assert problems(**spec) == [problem]


@pytest.mark.parametrize(
    "overrides",
    [
        {"pingTimeout": 28},
        {"pingInterval": "59s"},
        {"pingInterval": "59s", "pingTimeout": "1m"},
        {"clientBufferTotalBytes": "128Ki"},
        {"clientBufferTotalBytes": "2Mi", "clientBufferBytes": "2Mi"},
        {"drainDelay": "5m"},
        {"drainTimeout": "10s"},
        {"drainDelay": "10s", "drainTimeout": "10s"},
        {"drainDelay": 0, "drainTimeout": 1},
        {"maxConnections": 10_000, "workerPoolSize": 256, "maxGoroutines": 20_276},
        {"cpuRejectThreshold": 80, "cpuPauseThreshold": 80},
    ],
)
def test_a_rule_between_overrides_takes_its_edge(overrides: dict[str, Any]) -> None:
    assert WsFleet.parse(fleet_document(overrides=overrides)).spec.overrides.settings().keys()


@pytest.mark.parametrize("name", ["a" * 48, "1odin", "Odin", "odin.games", "odin-", ""])
def test_a_name_that_derived_names_can_not_carry_is_refused(name: str) -> None:
    with pytest.raises(InvalidFleetError) as caught:
        WsFleet.parse(fleet_document(name=name))
    assert caught.value.problems[0].startswith("metadata.name: ")


def test_a_password_in_the_nats_url_is_refused() -> None:
    assert problems(nats={"url": "nats://user:secret@nats:4222"})[0].startswith("spec.nats.url: ")


@pytest.mark.parametrize(
    "spec",
    [
        {"rollout": {"strategy": "InPlace"}},
    ],
)
def test_what_this_release_does_not_carry_out_is_not_accepted(spec: dict[str, Any]) -> None:
    assert problems(**spec)[0].endswith(": unknown field")


def test_costs_are_the_seeds_measured_or_given() -> None:
    assert WsFleet.parse(fleet_document(sizing={"costs": "Measured"})).spec.sizing.costs == "Measured"
    assert problems(sizing={"costs": "Guessed"}) == [
        "spec.sizing.costs: Input should be 'Seed', 'Measured' or 'Figures'"
    ]


def test_a_status_of_another_release_is_read_as_far_as_it_is_understood() -> None:
    document = fleet_document() | {"status": {"replicas": 3, "somethingNew": {"x": 1}}}
    assert WsFleet.parse(document).status.replicas == 3


def test_a_fleet_may_have_as_many_nodes_as_a_cluster_has_machines() -> None:
    for spec in (
        {"autoscaling": {"minReplicas": 2000, "maxReplicas": 5000}},
        {"autoscaling": {"maxReplicas": 5000, "schedules": [{"cron": "0 8 * * *", "minReplicas": 5000}]}},
        {"replicas": 5000},
    ):
        WsFleet.parse(fleet_document(**spec))
    with pytest.raises(InvalidFleetError, match=r"spec\.autoscaling\.maxReplicas: .*5000"):
        WsFleet.parse(fleet_document(autoscaling={"maxReplicas": 5001}))
