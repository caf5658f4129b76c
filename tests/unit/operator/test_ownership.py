"""Whose an object is that has one of the fleet's names."""

from __future__ import annotations

from typing import Any

import pytest

from wsfleet.reconcile.ownership import Claim, NameTakenError, claim_on

LABELS = {"app.kubernetes.io/managed-by": "wsfleet", "wsfleet.io/fleet": "odin"}


def service(labels: dict[str, str] | None = None, **owner: str) -> dict[str, Any]:
    references = [{"controller": True, **owner}] if owner else []
    return {
        "kind": "Service",
        "metadata": {"name": "odin", "labels": labels or {}, "ownerReferences": references},
    }


def fleet(uid: str, name: str = "odin") -> dict[str, str]:
    return {"apiVersion": "wsfleet.io/v1alpha1", "kind": "WsFleet", "name": name, "uid": uid}


@pytest.mark.parametrize(
    ("obj", "claim"),
    [
        (service(), Claim.TAKEN),
        (service({"app": "shop"}), Claim.TAKEN),
        (service(LABELS), Claim.OURS),
        (service(LABELS | {"wsfleet.io/fleet": "thor"}), Claim.TAKEN),
        (service(LABELS, **fleet("u1")), Claim.OURS),
        (service({}, **fleet("u1")), Claim.OURS),  # its labels are put back
        (service(LABELS, **fleet("u0")), Claim.LEFTOVER),
        (service(LABELS, **fleet("u0", "thor")), Claim.TAKEN),
        (service(LABELS, apiVersion="apps/v1", kind="Deployment", name="odin", uid="u9"), Claim.TAKEN),
        (
            service(LABELS, apiVersion="wsfleet.io.example/v1", kind="WsFleet", name="odin", uid="u9"),
            Claim.TAKEN,
        ),
    ],
)
def test_whose_it_is(obj: dict[str, Any], claim: Claim) -> None:
    assert claim_on(obj, "odin", "u1") is claim


def test_a_taken_name_is_told_with_its_owner_and_what_to_do() -> None:
    assert str(NameTakenError(service())) == (
        "Service/odin is not the operator's and is left alone: rename or delete it, or give the fleet "
        "another name"
    )
    owned = service(apiVersion="apps/v1", kind="Deployment", name="shop", uid="u9")
    assert str(NameTakenError(owned)).startswith("Service/odin belongs to Deployment/shop and is left alone")
