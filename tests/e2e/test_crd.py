"""The CRD on a real API server: it is taken, fills in defaults, and refuses what is wrong by path."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.client import Client, CommandError
from tests.support.cluster import new_namespace
from wsfleet.api import WsFleet
from wsfleet.api.crd import FILES, NAME, build_crd

NATS = {"url": "nats://nats:4222"}


@pytest.fixture(scope="module", autouse=True)
def _crd(cluster: Client) -> Iterator[None]:
    """This checkout's CRD, put there if there is none; one that a release owns is left alone."""
    there = json.loads(cluster.kubectl("get", "crd", NAME, "--ignore-not-found", "-o", "json") or "{}")
    if there and there["spec"]["versions"][0]["schema"] != build_crd()["spec"]["versions"][0]["schema"]:
        pytest.fail("the cluster has another checkout's CRD: `make down`, or upgrade the release")
    if not there:
        cluster.kubectl("create", "-f", str(FILES[0]))
        cluster.kubectl("wait", "--for=condition=Established", f"crd/{NAME}", "--timeout=30s")
    yield
    if not there:
        cluster.kubectl("delete", "crd", NAME)


def fleet(name: str = "odin", **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "wsfleet.io/v1alpha1",
        "kind": "WsFleet",
        "metadata": {"name": name},
        "spec": {"nats": NATS, **spec},
    }


def refusal(cluster: Client, namespace: str, document: dict[str, Any]) -> str:
    """What `kubectl apply` says to a fleet that is refused; its exit code is not 0."""
    with pytest.raises(CommandError) as caught:
        cluster.kubectl("apply", "-n", namespace, "-f", "-", input=json.dumps(document))
    return caught.value.stderr


def test_the_smallest_fleet_gets_its_defaults(cluster: Client, namespace: str) -> None:
    cluster.apply(fleet(), namespace=namespace)
    stored = cluster.kubectl_json("get", "wsf", "odin", "-n", namespace)
    assert stored["spec"]["profile"] == "Balanced"
    assert stored["spec"]["drain"] == {"delaySeconds": 10, "timeoutSeconds": 300}
    assert stored["spec"]["nats"]["stream"] == {
        "name": "ODIN_TOKENS",
        "subjects": ["odin.token.>"],
        "maxAge": "30s",
        "maxMessages": 100000,
        "maxBytes": "50Mi",
    }
    assert "replicas" not in stored["spec"]
    assert "autoscaling" not in stored["spec"]
    assert WsFleet.parse(stored).spec == WsFleet.parse(fleet()).spec


def test_a_fleet_that_uses_every_field_is_taken_as_it_is_written(cluster: Client, namespace: str) -> None:
    document = fleet(
        image="registry.example/wsnode@sha256:" + "0" * 64,
        imagePullPolicy="IfNotPresent",
        imagePullSecrets=[{"name": "registry"}],
        instance={
            "type": "e2-small",
            "cpu": 2,
            "sustainedCpu": "500m",
            "memory": "2Gi",
            "network": "1G",
            "burstable": True,
            "monthlyCost": 12.23,
            "reserved": {"cpu": "0.2", "memory": "256Mi"},
        },
        load={
            "users": 20000,
            "messagesPerSecond": 2,
            "peakMessagesPerSecond": 4,
            "messageBytes": 400,
            "publishRate": 12,
            "subscribersPerChannel": 200,
        },
        profile="Balanced",
        sizing={
            "costs": "Figures",
            "figures": {"cpuMicrosecondsPerMessage": 12.5, "memoryPerConnection": "64Ki"},
            "limits": "Moderate",
        },
        overrides={
            "maxConnections": 12000,
            "cpuLimit": 1.5,
            "memoryLimit": "1Gi",
            "cpuRejectThreshold": 70,
            "cpuPauseThreshold": 90.5,
            "pingInterval": "1m30s",
            "pingTimeout": 200,
            "allowedOrigins": ["https://example.com"],
            "jsStreamReplicas": 3,
            "jsStreamMaxAge": "45s",
            "jsStreamMaxMsgs": 200000,
            "jsStreamMaxBytes": "64Mi",
            "clientBufferTotalBytes": "128Mi",
            "drainDelay": 0,
            "drainTimeout": "2m",
        },
        autoscaling={
            "minReplicas": 2,
            "maxReplicas": 20,
            "connections": {"targetPercent": 80},
            "cpu": {"targetPercent": 60, "sustainedSeconds": 300},
            "rejections": {"perMinute": 10, "sustainedSeconds": 30},
            "scaleDown": {"stabilizationSeconds": 300, "headroomPercent": 70},
            "growth": {"enabled": True, "maxPercent": 50},
            "schedules": [
                {"cron": "0 8 * * 1-5", "timeZone": "Europe/Berlin", "minReplicas": 6},
                {
                    "cron": "0 20 * * *",
                    "timeZone": "Europe/Berlin",
                    "minReplicas": 2,
                    "durationSeconds": 7200,
                },
            ],
            "paused": True,
        },
        replicas=3,
        reconnects={"perSecond": 150},
        drain={"delaySeconds": 5, "timeoutSeconds": 120},
        rollout={"progressDeadlineSeconds": 600, "revisionHistoryLimit": 1},
        nats={**NATS, "credentialsSecret": {"name": "nats", "key": "user.creds"}},
        service={
            "type": "LoadBalancer",
            "port": 443,
            "ipFamilyPolicy": "PreferDualStack",
            "annotations": {"example.com/lb": "x"},
        },
        template={
            "labels": {"example.com/team": "games"},
            "annotations": {"note": "x"},
            "nodeSelector": {"pool": "ws"},
            "tolerations": [{"key": "pool", "operator": "Exists", "effect": "NoExecute"}],
            "affinity": {"podAntiAffinity": {}},
            "topologySpread": [{"topologyKey": "zone"}],
            "priorityClass": "important",
            "env": [{"name": "TZ", "value": "UTC"}],
            "resources": {"requests": {"cpu": "500m", "memory": "1Gi"}},
        },
    )
    cluster.apply(document, namespace=namespace)
    stored = cluster.kubectl_json("get", "wsf", "odin", "-n", namespace)
    assert stored["spec"]["overrides"] == document["spec"]["overrides"]
    assert WsFleet.parse(stored).spec == WsFleet.parse(document).spec


REFUSED = [
    ({"autoscaling": {"minReplicas": 3, "maxReplicas": 2}}, "spec.autoscaling.minReplicas"),
    (
        {"autoscaling": {"maxReplicas": 2, "schedules": [{"cron": "0 8 * * *", "minReplicas": 3}]}},
        "spec.autoscaling.schedules",
    ),
    (
        {"autoscaling": {"maxReplicas": 2, "schedules": [{"cron": "0 24 * * *", "minReplicas": 1}]}},
        "spec.autoscaling.schedules[0].cron",
    ),
    ({"autoscaling": {"minReplicas": 3}}, "spec.autoscaling.maxReplicas: Required value"),
    ({"autoscaling": {"maxReplicas": 2, "cpu": {"targetPercent": 99}}}, "spec.autoscaling.cpu.targetPercent"),
    ({"overrides": {"cpuRejectThreshold": 80, "cpuPauseThreshold": 75}}, "spec.overrides.cpuRejectThreshold"),
    ({"overrides": {"cpuPauseThreshold": 60}}, "spec.overrides.cpuPauseThreshold"),
    ({"overrides": {"cpuRejectThreshold": 95}}, "spec.overrides.cpuRejectThreshold"),
    (
        {"overrides": {"feed": "core", "republishSubject": "ws.live.>"}},
        "spec.overrides.republishSubject",
    ),
    ({"overrides": {"republishSubject": "ws.live"}}, "spec.overrides.republishSubject"),
    ({"overrides": {"maxConnections": 0}}, "spec.overrides.maxConnections"),
    ({"overrides": {"maxConnections": 10, "maxGoroutines": 30}}, "spec.overrides.maxGoroutines"),
    ({"overrides": {"pingInterval": "0s"}}, "spec.overrides.pingInterval"),
    ({"overrides": {"pingInterval": 5000}}, "spec.overrides.pingInterval"),
    ({"overrides": {"pingInterval": "1m"}}, "spec.overrides.pingInterval"),
    ({"overrides": {"pingInterval": "30s", "pingTimeout": 30}}, "spec.overrides.pingTimeout"),
    ({"overrides": {"drainDelay": "1m", "drainTimeout": 59}}, "spec.overrides.drainTimeout"),
    ({"overrides": {"drainTimeout": "9s"}}, "spec.overrides.drainTimeout"),
    ({"drain": {"timeoutSeconds": 60}, "overrides": {"drainDelay": 61}}, "spec.overrides.drainDelay"),
    ({"overrides": {"jsStreamMaxAge": "2d"}}, "spec.overrides.jsStreamMaxAge"),
    ({"overrides": {"clientBufferTotalBytes": "64Ki"}}, "spec.overrides.clientBufferTotalBytes"),
    ({"overrides": {"clientBufferBytes": "1Ki"}}, "spec.overrides.clientBufferBytes"),
    ({"overrides": {"logLevel": "loud"}}, "spec.overrides.logLevel"),
    ({"replicas": -1}, "spec.replicas"),
    ({"replicas": 5001}, "spec.replicas"),
    ({"profile": "Fast"}, "spec.profile"),
    (
        {"instance": {"type": "e2-huge"}},
        "spec.instance.type: Invalid value: no known machine type; known are",
    ),
    ({"instance": {"type": "e2-huge", "cpu": 2}}, "spec.instance.type"),
    ({"instance": {"cpu": 2}}, "spec.instance.memory"),
    ({"nats": {**NATS, "stream": {"maxAge": "30"}}}, 'maxAge: Invalid value: "30": must be an integer or a'),
    ({"instance": {"cpu": 1.5}}, "spec.instance.cpu"),
    ({"instance": {"memory": "2GB"}}, "spec.instance.memory"),
    ({"load": {"users": 0}}, "spec.load.users"),
    ({"load": {"messagesPerSecond": 5, "peakMessagesPerSecond": 2}}, "spec.load.peakMessagesPerSecond"),
    ({"drain": {"timeoutSeconds": 3}}, "spec.drain.timeoutSeconds"),
    ({"sizing": {"costs": "Guessed"}}, "spec.sizing.costs"),
    ({"sizing": {"costs": "Figures"}}, "spec.sizing.figures"),
    ({"reconnects": {"perSecond": 0}}, "spec.reconnects.perSecond"),
    ({"nats": {}}, "spec.nats.url: Required value"),
    ({"nats": {"url": "nats:4222"}}, "spec.nats.url"),
    ({"nats": {"url": "nats://user:secret@nats:4222"}}, "spec.nats.url"),
    ({"nats": {**NATS, "stream": {"subjects": ["a.*.>"]}}}, "spec.nats.stream.subjects[0]"),
    ({"service": {"port": 0}}, "spec.service.port"),
    ({"service": {"annotations": {"wsfleet.io/x": "y"}}}, "spec.service.annotations"),
    ({"template": {"labels": {"wsfleet.io/serving": "true"}}}, "spec.template.labels"),
    ({"template": {"labels": {"-not-a-key": "x"}}}, "spec.template.labels"),
    ({"template": {"env": [{"name": "WS_ADDR", "value": ":1"}]}}, "spec.template.env[0].name"),
    ({"template": {"env": [{"name": "A"}, {"name": "A"}]}}, "spec.template.env[1]"),
]


@pytest.mark.parametrize(("spec", "path"), REFUSED, ids=[path for _, path in REFUSED])
def test_a_bad_fleet_is_refused_with_the_fields_path(
    cluster: Client, shared_namespace: str, spec: dict[str, Any], path: str
) -> None:
    assert path in refusal(cluster, shared_namespace, fleet(**spec))


UNKNOWN = [
    ({"overrides": {"maxConnexions": 5}}, "spec.overrides.maxConnexions"),
    ({"overrides": {"adminAddr": ":1"}}, "spec.overrides.adminAddr"),
    ({"overrides": {"jsStreamName": "X"}}, "spec.overrides.jsStreamName"),
    ({"rebalance": {"onDemand": True}}, "spec.rebalance.onDemand"),
    ({"template": {"serviceAccountName": "root"}}, "spec.template.serviceAccountName"),
    ({"template": {"volumes": []}}, "spec.template.volumes"),
]


@pytest.mark.parametrize(("spec", "path"), UNKNOWN, ids=[path for _, path in UNKNOWN])
def test_an_unknown_field_is_named(
    cluster: Client, shared_namespace: str, spec: dict[str, Any], path: str
) -> None:
    assert f'unknown field "{path}"' in refusal(cluster, shared_namespace, fleet(**spec))


@pytest.mark.parametrize("name", ["a" * 48, "1odin", "odin.games"])
def test_a_name_that_derived_names_can_not_carry_is_refused(
    cluster: Client, shared_namespace: str, name: str
) -> None:
    assert "metadata.name" in refusal(cluster, shared_namespace, fleet(name))


def test_the_longest_name_is_taken(cluster: Client, shared_namespace: str) -> None:
    cluster.apply(fleet("a" * 47), namespace=shared_namespace)


def test_status_and_columns(cluster: Client, namespace: str) -> None:
    cluster.apply(fleet(), namespace=namespace)
    status = {
        "phase": "Running",
        "replicas": 3,
        "readyReplicas": 2,
        "desiredReplicas": 3,
        "selector": "wsfleet.io/fleet=odin",
        "connections": 8100,
        "capacity": 30000,
        "cpuPercent": 12.5,
        "lastDecision": "1 to 3: Connections",
        "memory": {"desired": 3, "totals": [[1, 2]]},
        "conditions": [
            {
                "type": "Ready",
                "status": "True",
                "reason": "AllReady",
                "message": "",
                "lastTransitionTime": "2026-01-31T08:00:00Z",
            }
        ],
    }
    patch = json.dumps({"status": status})
    cluster.kubectl(
        "patch", "wsf", "odin", "-n", namespace, "--subresource=status", "--type=merge", "-p", patch
    )
    stored = cluster.kubectl_json("get", "wsf", "odin", "-n", namespace)["status"]
    assert {name: stored[name] for name in status} == status
    header, row = cluster.kubectl("get", "wsf", "-n", namespace, "-o", "wide").splitlines()
    assert [*header.split("  ")[0:1], row.split()[:7]] == [
        "NAME",
        ["odin", "2", "3", "8100", "30000", "12.5", "Running"],
    ]
    for column in ("READY", "DESIRED", "CONNECTIONS", "CAPACITY", "CPU %", "PHASE", "AGE", "PROFILE"):
        assert column in header
    assert row.endswith("1 to 3: Connections")


def test_kubectl_scale_sets_replicas(cluster: Client, namespace: str) -> None:
    cluster.apply(fleet(replicas=1), namespace=namespace)
    cluster.kubectl("scale", "wsf/odin", "-n", namespace, "--replicas=4")
    assert cluster.kubectl_json("get", "wsf", "odin", "-n", namespace)["spec"]["replicas"] == 4
    with pytest.raises(CommandError, match=r"spec\.replicas"):
        cluster.kubectl("scale", "wsf/odin", "-n", namespace, "--replicas=5001")


def test_kubectl_scale_works_where_replicas_is_absent(cluster: Client, namespace: str) -> None:
    """It patches; only reading the subresource needs the field, as an autoscaler of Kubernetes' own does."""
    cluster.apply(fleet(), namespace=namespace)
    path = f"/apis/wsfleet.io/v1alpha1/namespaces/{namespace}/wsfleets/odin/scale"
    with pytest.raises(CommandError, match=r"\.spec\.replicas"):
        cluster.kubectl("get", "--raw", path)
    cluster.kubectl("scale", "wsf/odin", "-n", namespace, "--replicas=2")
    assert json.loads(cluster.kubectl("get", "--raw", path))["spec"] == {"replicas": 2}


def test_kubectl_explain_tells_units(cluster: Client) -> None:
    assert "seconds" in cluster.kubectl("explain", "wsf.spec.drain.timeoutSeconds")
    assert "WS_MAX_CONNECTIONS" in cluster.kubectl("explain", "wsf.spec.overrides.maxConnections")


@pytest.fixture(scope="module")
def shared_namespace(cluster: Client) -> Iterator[str]:
    """One namespace for the many fleets that are never stored."""
    name = new_namespace(cluster)
    yield name
    cluster.kubectl("delete", "namespace", name, "--wait=true")
