"""What one process holds of fleets: the fleet that is there now, and what was said of it."""

from __future__ import annotations

from typing import Any, cast

from tests.support.fleets import fleet_document
from wsfleet.kube.cache import Cache
from wsfleet.reconcile.context import Context, FleetState
from wsfleet.reconcile.fleet import FleetReconciler
from wsfleet.reconcile.observe import sample_of
from wsfleet.scaling import NodeSample
from wsfleet.scrape.figures import parse_status


def fleet(uid: str, version: int, generation: int = 1) -> dict[str, Any]:
    document = fleet_document()
    document["metadata"] |= {"uid": uid, "resourceVersion": str(version), "generation": generation}
    return document


def test_late_news_of_an_earlier_fleet_of_the_name_do_not_take_the_new_ones_place() -> None:
    fleets = FleetReconciler(cast(Context, None))
    assert fleets.take(fleet("old", 10))
    assert fleets.take(fleet("new", 30))
    assert not fleets.take(fleet("old", 20, generation=2))
    assert not fleets.holds(fleet("old", 21))
    assert fleets.holds(fleet("new", 30))


def test_what_was_remarked_is_remembered_by_the_status_and_strange_memories_are_none() -> None:
    def said(memory: Any) -> set[str]:
        return FleetState.of(fleet("a", 1) | {"status": {"memory": memory}}).said

    assert said({"said": ["ReplicasIgnored"]}) == {"ReplicasIgnored"}
    for memory in (None, 7, {"said": "text"}, {"said": [1, None]}):
        assert said(memory) == set()


def test_an_old_pod_that_stumbles_has_been_unready_for_as_long_as_it_says() -> None:
    pod = {
        "metadata": {"name": "odin-a", "uid": "a", "creationTimestamp": "2026-01-01T00:00:00Z"},
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-31T08:00:00Z"}
            ],
        },
    }
    now = 1769846403.0  # 2026-01-31T08:00:03Z
    sample = sample_of(pod, {}, cast(Cache, None), now, 0.0)
    assert sample.unready_seconds == 3.0
    assert not sample.shedding
    told = parse_status({"shed": {"remaining": 7}}, 0.0)
    assert sample_of(pod, {"a": told}, cast(Cache, None), now, 0.0).shedding
    assert sample.pod_age_seconds > 86_400


def test_a_pod_was_ready_if_its_word_is_later_than_what_a_kubelet_says_at_first() -> None:
    def sample(scheduled: str, ready: str, since: str) -> NodeSample:
        conditions = [
            {"type": "PodScheduled", "status": "True", "lastTransitionTime": scheduled},
            {"type": "Ready", "status": ready, "lastTransitionTime": since},
        ]
        metadata = {"name": "odin-a", "uid": "a", "creationTimestamp": "2026-01-31T07:00:00Z"}
        pod = {"metadata": metadata, "status": {"phase": "Running", "conditions": conditions}}
        return sample_of(pod, {}, cast(Cache, None), 1769846700.0, 0.0)  # 08:05:00

    never = sample("2026-01-31T08:00:00Z", "False", "2026-01-31T08:00:05Z")
    assert (never.been_ready, never.lost(60.0)) == (False, False), "also where it waited long for a machine"
    once = sample("2026-01-31T07:00:00Z", "False", "2026-01-31T08:03:59Z")
    assert (once.been_ready, once.lost(60.0), once.lost(61.0)) == (True, True, False)
    assert sample("2026-01-31T07:00:00Z", "True", "2026-01-31T07:00:10Z").been_ready
