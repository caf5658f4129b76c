"""What the spec wishes of the JetStream stream, against what the nodes find. Pure.

Nobody changes an existing stream: it may be shared, and to shrink it loses messages. So a
difference is said, with the command that takes it away; a user runs it in one of the fleet's own pods,
which know the broker, its credentials and what the spec asks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wsfleet.scrape import NodeFigures, StreamFigures
from wsfleet.status import Finding
from wsnode.config import Settings

STREAM_DIFFERS = "StreamDiffers"
_KEPT = ("status", "reason", "message")


def stream_finding(
    settings: Settings,
    nodes: Iterable[NodeFigures],
    earlier: Iterable[NodeFigures] = (),
    before: Mapping[str, Any] | None = None,
    pod: str = "",
) -> Finding:
    """Whether the stream that the nodes read is another than the spec says.

    `earlier` are nodes of another shape: they may read another stream, so theirs is not compared. While
    they alone read, what the last status (`before`) says stays. `pod` is one of the nodes, as `kubectl exec`
    takes it.
    """
    told = [figures for figures in nodes if figures.stream is not None]
    if not told:
        conditions = (before or {}).get("conditions") or ()
        last = next((one for one in conditions if one.get("type") == STREAM_DIFFERS), None)
        if last is not None and any(figures.stream is not None for figures in earlier):
            return Finding(STREAM_DIFFERS, *(str(last.get(name, "")) for name in _KEPT))
        return Finding(STREAM_DIFFERS, "Unknown", "NoFigures", "no node has told of the stream")
    stream = max(told, key=lambda figures: figures.taken).stream
    assert stream is not None
    differences = _differences(settings, stream)
    if not differences:
        return Finding.of(STREAM_DIFFERS, False, "AsWished", "the stream is as the spec says")
    text = (
        f"stream {settings.js_stream_name} is not as spec.nats.stream says: {'; '.join(differences)}. "
        "An existing stream is never changed by operator or nodes. To change it: "
        f"kubectl exec -it {pod or 'POD'} -- wsnode stream apply"
    )
    return Finding.of(STREAM_DIFFERS, True, "StreamExists", text)


def _differences(settings: Settings, stream: StreamFigures) -> list[str]:
    """What differs, for people."""
    texts = []
    age = settings.js_stream_max_age
    if stream.max_age_seconds is not None and abs(stream.max_age_seconds - age) > 0.001:
        texts.append(f"maxAge is {_limit(stream.max_age_seconds, ' s')}, not {age:g} s")
    for field, is_, wanted in (
        ("maxMessages", stream.max_msgs, settings.js_stream_max_msgs),
        ("maxBytes", stream.max_bytes, settings.js_stream_max_bytes),
    ):
        if is_ is not None and is_ != wanted:
            texts.append(f"{field} is {_limit(is_, '')}, not {wanted}")
    # More subjects than ours do no harm; none at all has a stream that is fed by others.
    lacking = [one for one in settings.js_stream_subjects if not _takes(stream.subjects or (one,), one)]
    if lacking:
        there = stream.subjects or ()
        texts.append(f"subjects are {', '.join(there[:5])}, without {', '.join(lacking)}")
    return texts


def _takes(subjects: Iterable[str], wished: str) -> bool:
    """Whether one of the subjects is `wished` or, ending in `>`, matches all that it does."""
    return any(
        one in (wished, ">") or (one.endswith(".>") and wished.startswith(one[:-1])) for one in subjects
    )


def _limit(value: float, unit: str) -> str:
    return f"{value:.15g}{unit}" if value > 0 else "unlimited"
