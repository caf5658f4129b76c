"""Merge patches: a client that applies them always has what a full message would have given it."""

from __future__ import annotations

import json
import math
from typing import Any

import orjson
import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from wsnode.protocol.delta import apply_delta, delta_of
from wsnode.protocol.envelope import is_json

PAD = '"pad":"' + "x" * 100 + '"'


def _patch(before: str, after: str) -> str | None:
    """The patch between two objects, given as their members, beside enough that makes it worth its bytes."""
    patch = delta_of(f"{{{PAD},{before}}}".encode(), f"{{{PAD},{after}}}".encode())
    return None if patch is None else patch.decode()


@pytest.mark.parametrize(
    ("before", "after", "patch"),
    [
        ('"a":1', '"a":1', "{}"),
        ('"a":1', '"a":2', '{"a":2}'),
        ('"a":1', '"b":2', '{"a":null,"b":2}'),
        ('"a":null,"b":1', '"a":null,"b":2', '{"b":2}'),  # a null that stays is no business of the patch
        ('"a":null', '"b":1', '{"a":null,"b":1}'),
        ('"a":{"b":1,"c":2}', '"a":{"b":1,"c":3}', '{"a":{"c":3}}'),
        ('"a":{"b":1}', '"a":{}', '{"a":{"b":null}}'),
        ('"a":1', '"a":{}', '{"a":{}}'),
        ('"a":{"b":1}', '"a":1', '{"a":1}'),
        ('"a":[1,2,3]', '"a":[1,2,4]', '{"a":[1,2,4]}'),  # arrays whole
        ('"a":[1,{"b":true}]', '"a":[1,{"b":true}]', "{}"),
        # Types are told apart, at every depth.
        ('"a":1', '"a":true', '{"a":true}'),
        ('"a":0', '"a":false', '{"a":false}'),
        ('"a":1', '"a":1.0', '{"a":1.0}'),
        ('"a":[1]', '"a":[true]', '{"a":[true]}'),
        ('"a":[{"b":0}]', '"a":[{"b":false}]', '{"a":[{"b":false}]}'),
        # Of a name that comes twice the last counts, as in JSON.parse.
        ('"a":1,"a":2', '"a":2', "{}"),
        ('"a":1', '"a":1,"a":2', '{"a":2}'),
        ('"a":{"b":1},"a":{"c":1}', '"a":{"c":2}', '{"a":{"c":2}}'),
        # Digits that survive.
        ('"a":1', '"a":1700000000000000001', '{"a":1700000000000000001}'),
        ('"a":1', '"a":18446744073709551615', '{"a":18446744073709551615}'),
        ('"a":1', '"a":0.1', '{"a":0.1}'),
        ('"a":1', '"a":-0.5e-7', '{"a":-5e-8}'),
        # A change to null, or to something with null in it.
        ('"a":1', '"a":null', None),
        ('"b":1', '"b":1,"a":null', None),
        ('"a":1', '"a":{"b":null}', None),
        ('"a":{"b":1}', '"a":{"b":null}', None),
        ('"a":1', '"a":[null]', None),
        ('"a":1', '"a":[[{"b":null}]]', None),
        # Numbers that might not survive.
        ('"a":1', '"a":18446744073709551616', None),
        ('"a":1', '"a":-9223372036854775809', None),
        ('"a":1', '"a":1e300', None),
        ('"a":1', '"a":[1e300]', None),
        ('"a":0', '"a":-0', None),
        ('"a":0.0', '"a":-0.0', None),
        ('"a":-0.0', '"a":0.0', "{\"a\":0.0}"),
        ('"a":[0.0]', '"a":[-0.0]', None),
        ('"a":-0', '"a":1', None),
        ('"a":[-0 ]', '"a":[0]', None),
        ('"a":1', '"a":-0e5', None),
        ('"a":"x-0,"', '"a":"x-0]"', '{"a":"x-0]"}'),
        # A name that would be a prototype where a client assigns it.
        ('"a":1', '"__proto__":1', None),
        ('"a":1', '"a":{"b":{"__proto__":{}}}', None),
        ('"a":1', '"a":[{"__proto__":{}}]', None),
        ('"__proto__":{"a":1}', '"__proto__":{"a":2}', None),
        ('"__proto__":{"a":1}', '"b":2', None),
        ('"a":1,"__proto__":{"a":1}', '"a":2,"__proto__":{"a":1}', '{"a":2}'),
    ],
)  # fmt: skip
def test_patches(before: str, after: str, patch: str | None) -> None:
    assert _patch(before, after) == patch


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("1", '{"a":1}'),
        ('{"a":1}', "1"),
        ("[1]", "[1]"),
        ("null", "null"),
        ("{}", "{}"),  # a patch as long as the data itself
    ],
)
def test_only_between_objects_and_only_where_it_is_shorter(before: str, after: str) -> None:
    assert delta_of(before.encode(), after.encode()) is None


def test_above_70_percent_the_full_data_goes() -> None:
    before = b'{"a":"x","b":1}'
    # 14 of 20 bytes, and 15 of 21.
    assert delta_of(before, b'{"a":"yyyyyy","b":1}') == b'{"a":"yyyyyy"}'
    assert delta_of(before, b'{"a":"yyyyyyy","b":1}') is None


@pytest.mark.parametrize("text", ["[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900])
def test_what_is_nested_too_deep_goes_in_full(text: str) -> None:
    assert is_json(text.encode())
    assert _patch(f'"a":{text}', f'"a":{text},"b":1') is None
    assert _patch('"a":1', f'"a":{text}') is None
    assert _patch(f'"a":{text}', '"a":1') == '{"a":1}'


def test_the_standards_own_examples() -> None:
    """RFC 7396, appendix A."""
    for before, patch, after in [
        ('{"a":"b"}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"b"}', '{"b":"c"}', '{"a":"b","b":"c"}'),
        ('{"a":"b"}', '{"a":null}', "{}"),
        ('{"a":"b","b":"c"}', '{"a":null}', '{"b":"c"}'),
        ('{"a":["b"]}', '{"a":"c"}', '{"a":"c"}'),
        ('{"a":"c"}', '{"a":["b"]}', '{"a":["b"]}'),
        ('{"a":{"b":"c"}}', '{"a":{"b":"d","c":null}}', '{"a":{"b":"d"}}'),
        ('{"a":[{"b":"c"}]}', '{"a":[1]}', '{"a":[1]}'),
        ('["a","b"]', '["c","d"]', '["c","d"]'),
        ('{"a":"b"}', '["c"]', '["c"]'),
        ('{"a":"foo"}', "null", "null"),
        ('{"a":"foo"}', '"bar"', '"bar"'),
        ('{"e":null}', '{"a":1}', '{"e":null,"a":1}'),
        ("[1,2]", '{"a":"b","c":null}', '{"a":"b"}'),
        ("{}", '{"a":{"bb":{"ccc":null}}}', '{"a":{"bb":{}}}'),
    ]:
        assert apply_delta(json.loads(before), json.loads(patch)) == json.loads(after)


def test_applying_a_patch_leaves_the_value_before_as_it_was() -> None:
    before = {"a": {"b": 1, "c": [1]}, "d": 2}
    assert apply_delta(before, {"a": {"b": None}, "d": None}) == {"a": {"c": [1]}}
    assert before == {"a": {"b": 1, "c": [1]}, "d": 2}


# A client in JavaScript, in what matters: every number is a double, the sign of zero counts.


def _js_parse(text: bytes) -> Any:
    return json.loads(text, parse_int=float, parse_float=float)


def _js_apply(target: Any, patch: Any) -> Any:
    """As the RFC has it, on JavaScript's objects."""
    if not isinstance(patch, dict):
        return patch
    if not isinstance(target, dict):
        target = {}
    for name, value in patch.items():
        assert name != "__proto__"
        if value is None:
            target.pop(name, None)
        else:
            target[name] = _js_apply(target.get(name), value)
    return target


def _js_same(one: Any, other: Any) -> bool:
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_js_same(one[name], other[name]) for name in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_js_same, one, other))
    if isinstance(one, float):
        return one == other and math.copysign(1, one) == math.copysign(1, other)
    return bool(one == other)


_HARD_NUMBERS = """
    0 -0 0.0 -0.0 -0e3 0e-9 1 1.0 10e-1 1e2 100 1E+2 0.1 0.10000000000000000555 123456789.123456789 5e-324
    9007199254740992 9007199254740993 18446744073709551615 18446744073709551616 18446744073709551617
    -9223372036854775808 -9223372036854775809 1e300 1.5e308 1e-400
"""
_NUMBERS = st.one_of(
    st.sampled_from(_HARD_NUMBERS.split()),
    st.integers(-(2**70), 2**70).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
)
_NAMES = st.sampled_from(["a", "b", "c", "1", "__proto__", "\N{SNOWMAN}", "x-0"])
_SPACES = st.sampled_from(["", "", "", " ", "\n", "\r\n", "\t"])


def _array(items: list[str]) -> str:
    return f"[{','.join(items)}]"


def _object(members: list[tuple[str, str, str]]) -> str:
    """Names may come twice: that is JSON, and publishers do it."""
    inner = ",".join(f"{space}{json.dumps(name)}:{space}{value}" for name, value, space in members)
    return f"{{{inner}}}"


_Members = list[tuple[str, str, str]]


def _members(values: st.SearchStrategy[str], most: int) -> st.SearchStrategy[_Members]:
    return st.lists(st.tuples(_NAMES, values, _SPACES), max_size=most)


_VALUES = st.recursive(
    st.one_of(
        _NUMBERS, st.sampled_from(["null", "true", "false", '"s"', '"s-0"', '""', '" -0,"', '"\\u0061"'])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3).map(_array), _members(inner, 3).map(_object)),
    max_leaves=8,
)
_MEMBERS = _members(_VALUES, 5)


@st.composite
def _streams(draw: st.DrawFn) -> list[bytes]:
    """The messages of a channel: each is the one before with a few of its members exchanged."""
    members: _Members = draw(_MEMBERS)
    texts: list[bytes] = []
    for _ in range(draw(st.integers(2, 6))):
        if draw(st.booleans()) and members:
            members = list(members)
            del members[draw(st.integers(0, len(members) - 1))]
        members = members + draw(_members(_VALUES, 2))
        pad = draw(st.sampled_from(["", PAD, PAD]))
        body = _object(members)
        texts.append(f"{{{pad}{',' if pad and body != '{}' else ''}{body[1:]}".encode())
    return [text for text in texts if is_json(text)]


@given(_streams(), st.booleans())
def test_who_applies_patches_has_what_others_get_in_full(stream: list[bytes], python: bool) -> None:
    """Judged by JavaScript's eyes, and by those of a client in Python with the node's own parser."""
    parse, apply = (orjson.loads, apply_delta) if python else (_js_parse, _js_apply)
    before, state = b"", None
    for text in stream:
        patch = delta_of(before, text) if before else None
        state = parse(text) if patch is None else apply(state, parse(patch))
        event("full" if patch is None else "patch")
        assert _js_same(state, parse(text)), (before, text, patch)
        before = text


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_two_payloads_that_are_json_give_a_patch_or_none(one: bytes, other: bytes) -> None:
    if is_json(one) and is_json(other):
        delta_of(one, other)
