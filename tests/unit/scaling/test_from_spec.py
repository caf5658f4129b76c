"""Policies from the resource."""

from __future__ import annotations

from wsfleet.api import WsFleetSpec
from wsfleet.scaling.from_spec import (
    policy_from_spec,
    rebalance_policy_from_spec,
    rollout_policy_from_spec,
)
from wsfleet.scaling.schedule import Schedule
from wsfleet.sizing import Inputs, make_plan
from wsfleet.sizing.from_spec import inputs_from_spec

PLAN = make_plan(Inputs())
SMALLEST = {"nats": {"url": "nats://nats:4222"}}


def spec(**more: object) -> WsFleetSpec:
    return WsFleetSpec.model_validate(SMALLEST | more)


def test_the_seeds_numbers_are_the_defaults() -> None:
    policy = policy_from_spec(spec(autoscaling={"maxReplicas": 20}), PLAN)
    assert policy.autoscaling
    assert (policy.min_replicas, policy.max_replicas) == (1, 20)
    assert policy.max_connections == PLAN.settings.max_connections
    assert policy.connections.target_percent == 80
    assert (policy.cpu.target_percent, policy.cpu.sustained_seconds) == (60, 300)
    assert (policy.rejections.per_minute, policy.rejections.sustained_seconds) == (10, 30)
    assert (policy.scale_down.stabilization_seconds, policy.scale_down.headroom_percent) == (300, 70)


def test_without_autoscaling_the_spec_says_the_size() -> None:
    policy = policy_from_spec(spec(replicas=3), PLAN, paused_scale_in=True)
    assert not policy.autoscaling
    assert policy.replicas == 3
    assert policy.paused_scale_in


def test_a_pause_by_spec_or_by_annotation() -> None:
    auto = {"maxReplicas": 2, "paused": True}
    assert policy_from_spec(spec(autoscaling=auto), PLAN).paused
    assert policy_from_spec(spec(autoscaling={"maxReplicas": 2}), PLAN, paused=True).paused
    assert not policy_from_spec(spec(autoscaling={"maxReplicas": 2}), PLAN).paused


def test_how_nodes_are_replaced() -> None:
    wished = spec(
        overrides={"maxConnections": 100},
        drain={"delaySeconds": 5, "timeoutSeconds": 60},
        rollout={"progressDeadlineSeconds": 120, "revisionHistoryLimit": 1},
    )
    policy = rollout_policy_from_spec(wished, make_plan(*inputs_from_spec(wished)))
    assert policy.progress_deadline_seconds == 120
    assert policy.revision_history_limit == 1
    assert (policy.retire.delay_seconds, policy.retire.timeout_seconds) == (5, 60)


def test_a_drain_is_waited_for_as_long_as_the_nodes_take() -> None:
    # 10,000 connections at 25 closes a second, after 5 s: the sizing rules raise the time-out.
    raised = spec(reconnects={"perSecond": 25}, drain={"delaySeconds": 5, "timeoutSeconds": 60})
    overridden = spec(overrides={"drainDelay": "2s", "drainTimeout": "50s"})
    times = [
        (policy.delay_seconds, policy.timeout_seconds)
        for policy in (
            rollout_policy_from_spec(one, make_plan(*inputs_from_spec(one))).retire
            for one in (raised, overridden)
        )
    ]
    assert times == [(5, 405), (2, 50)]


def test_growth_and_schedules() -> None:
    entries = [
        {"cron": "0 8 * * 1-5", "timeZone": "Europe/Berlin", "minReplicas": 3},
        {"cron": "0 12 * * *", "minReplicas": 4, "durationSeconds": 3600},
    ]
    auto = {"maxReplicas": 4, "schedules": entries, "growth": {"maxPercent": 20}}
    policy = policy_from_spec(spec(autoscaling=auto), PLAN)
    assert (policy.growth.enabled, policy.growth.most_percent) == (True, 20)
    assert policy.schedules == (
        Schedule(cron="0 8 * * 1-5", time_zone="Europe/Berlin", min_replicas=3),
        Schedule(cron="0 12 * * *", time_zone="UTC", min_replicas=4, duration_seconds=3600),
    )
    off = policy_from_spec(spec(autoscaling={"maxReplicas": 4, "growth": {"enabled": False}}), PLAN)
    assert not off.growth.enabled
    assert off.growth.most_percent == 50


def test_what_rebalance_waits_for_and_what_ends_it_follow_the_scaling_rules() -> None:
    default = rebalance_policy_from_spec(spec(), PLAN)
    assert (default.rejections_per_minute, default.soon_seconds) == (10, 600)
    auto = {"maxReplicas": 5, "rejections": {"perMinute": 50}, "scaleDown": {"stabilizationSeconds": 900}}
    given = rebalance_policy_from_spec(spec(autoscaling=auto), PLAN)
    assert (given.rejections_per_minute, given.soon_seconds) == (50, 1800)


def test_where_nodes_turn_clients_away_for_cpu_is_the_plans_to_say() -> None:
    assert policy_from_spec(spec(autoscaling={"maxReplicas": 2}), PLAN).cpu.reject_percent == 75
    conservative = make_plan(*inputs_from_spec(spec(profile="Conservative")))
    assert policy_from_spec(spec(autoscaling={"maxReplicas": 2}), conservative).cpu.reject_percent == 70
