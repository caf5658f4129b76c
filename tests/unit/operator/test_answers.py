"""HTTP answers out of bytes: whole ones however they are cut, and nothing of what is no answer."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsfleet.scrape.answers import Answer, AnswerError, AnswerReader

MOST = 1000


def read(*pieces: bytes) -> Answer | None:
    reader, found = AnswerReader(MOST), None
    for piece in pieces:
        found = reader.feed(piece)
    return found


def read_to_the_end(*pieces: bytes) -> Answer:
    reader = AnswerReader(MOST)
    for piece in pieces:
        assert reader.feed(piece) is None
    return reader.end()


def test_an_answer_with_a_length_is_whole_at_its_last_byte() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nCONTENT-LENGTH: 2\r\n\r\n"
    assert read(head, b"{") is None
    assert read(head, b"{", b"}") == Answer(200, b"{}", stays=True)


def test_an_answer_in_chunks_ends_with_the_empty_one_and_its_trailers() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunks = b'3;name="x"\r\n{"a\r\nA\r\n":"bcdefg"\r\n1\r\n}\r\n0\r\n'
    assert read(head + chunks) is None
    assert read(head + chunks + b"\r\n") == Answer(200, b'{"a":"bcdefg"}', stays=True)
    assert read(head + chunks + b"Checked: yes\r\n\r\n") == Answer(200, b'{"a":"bcdefg"}', stays=True)


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    assert read_to_the_end(b"HTTP/1.1 200 OK\r\n\r\n", b"{", b"}") == Answer(200, b"{}", stays=False)


@pytest.mark.parametrize(
    ("text", "stays"),
    [
        (b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: Close\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: keep-alive\r\n\r\n", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", True),
        (b"HTTP/1.1 304\r\n\r\n", True),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", False),  # nobody asked
    ],
)
def test_a_connection_stays_where_both_sides_know_where_the_answer_ended(text: bytes, stays: bool) -> None:
    found = read(text)
    assert found is not None
    assert (found.body, found.stays) == (b"", stays)


def test_what_is_said_in_the_meantime_is_no_answer() -> None:
    told = (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 1\r\n\r\n-"
    )
    assert read(told) == Answer(404, b"-", stays=True)


@pytest.mark.parametrize(
    "text",
    [
        b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
        b"HTTP/2 200\r\n\r\n",
        b"HTTP/1.1 2x0 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-1\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"x" * 3000,
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000,
    ],
)
def test_nonsense_and_what_is_too_long_is_refused(text: bytes) -> None:
    with pytest.raises(AnswerError):
        read(text)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n",
    ],
)
def test_half_an_answer_is_none(text: bytes) -> None:
    with pytest.raises(AnswerError):
        read_to_the_end(text)


def told(body: bytes, sizes: list[int] | None) -> bytes:
    """An answer with this body: by its length, or in chunks of about these sizes."""
    if sizes is None:
        return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)
    text, at = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", 0
    for size in (*sizes, len(body)):
        part, at = body[at : at + size], at + size
        text += b"%x\r\n%s\r\n" % (len(part), part) if part else b""
    return text + b"0\r\n\r\n"


@given(
    st.binary(max_size=300),
    st.none() | st.lists(st.integers(1, 100), max_size=5),
    st.lists(st.integers(0, 400), max_size=8),
)
def test_it_does_not_matter_how_an_answer_is_cut(
    body: bytes, sizes: list[int] | None, cuts: list[int]
) -> None:
    text = told(body, sizes)
    places = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    reader, found = AnswerReader(MOST), []
    for start, end in itertools.pairwise(places):
        if start < end:
            found.append(reader.feed(text[start:end]))
    assert found[:-1] == [None] * (len(found) - 1)
    assert found[-1] == Answer(200, body, stays=True)


@given(st.binary(max_size=200), st.booleans())
def test_no_bytes_bring_anything_but_an_answer_or_a_refusal(text: bytes, headed: bool) -> None:
    reader = AnswerReader(MOST)
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" if headed else b"HTTP/1.1 "
    try:
        found = reader.feed(head + text)
        found = found or reader.end()
    except AnswerError:
        return
    assert len(found.body) <= MOST
