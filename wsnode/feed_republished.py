"""Reading what the stream republishes on core NATS (WS_REPUBLISH_SUBJECT), for fleets of many nodes.

The server then sends each message once for all nodes, and has no consumer for each. A message that did
not come leaves a gap in the sequences. The stream itself is read, by a consumer that lives only so
long, at the start and where there is a gap. Meanwhile what comes is kept, and taken when its turn is.

A message lost at the end is followed by none that shows it, so the stream is looked at every few
seconds. Where the stream does not republish as is needed, it is read as without the setting.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from wsnode.broker import phrase
from wsnode.feed_stream import ANOTHER_STREAM, StreamReader
from wsnode.jetstream import JetStreamApi, StreamInfo, republish_problem
from wsnode.pull import Pull
from wsnode.republished import GAP, Flow, Republished

if TYPE_CHECKING:
    from nats.aio.client import Client

CHECK_SECONDS = 5.0
_ON_ITS_WAY_SECONDS = 1.0
_JOINED = "joined"


class RepublishedReader(StreamReader):
    """Takes a stream's messages as it republishes them, and from the stream what is missing."""

    _flow: Flow | None = None
    _unfit: str | None = None  # why the stream is read by a consumer after all

    def interrupt(self, reason: str) -> bool:
        """Ends what is being read; False when nothing is."""
        reading = super().interrupt(reason)
        if self._flow is None:
            return reading
        self._flow.end(reason)
        return True

    async def _follow(self, client: Client, api: JetStreamApi, info: StreamInfo) -> str:
        self._unfit = republish_problem(info, self._state.settings)
        if self._unfit is not None:
            return await self._by_consumer(client, api, info, self._unfit)
        self._flow = flow = Flow(
            client,
            self._state,
            position=lambda: self._ring.position,
            take=self._republished,
            known=self._known,
        )
        try:
            refused = await flow.open()
            if refused is not None:
                self._flow = None
                return await self._by_consumer(client, api, info, refused)
            while True:
                reason = await self._consume(client, api)
                if reason == _JOINED:
                    reason = await self._stay(api, flow)
                if reason != GAP:
                    return reason
                self._counters.feed_gaps += 1
        finally:
            self._flow = None
            await flow.close()

    async def _by_consumer(self, client: Client, api: JetStreamApi, info: StreamInfo, problem: str) -> str:
        """Nothing is lost without the flow; but the server has more to do."""
        self._state.say("republish", "the stream is read by a consumer of this node", problem=problem)
        return await super()._follow(client, api, info)

    async def _stay(self, api: JetStreamApi, flow: Flow) -> str:
        """Takes what comes until something is missing, or something comes between."""
        self._state.lag = 0  # of what the stream has, all that was not read has come
        flow.go_live()
        checking = asyncio.create_task(self._check(api, flow))
        try:
            return await flow.until_ended()
        finally:
            checking.cancel()

    async def _check(self, api: JetStreamApi, flow: Flow) -> None:
        """Looks at the stream now and then, and whenever a message raises a doubt."""
        while flow.live:
            await flow.doubted(CHECK_SECONDS)
            try:
                info = await api.stream_info()
            except Exception as error:
                flow.end(f"the stream does not answer: {phrase(error)}")
                return
            if info is None or info.created != self._created or info.last_seq < self._ring.position:
                flow.end(ANOTHER_STREAM)
                return
            self._seen_again(info)
            if info.last_seq > self._ring.position:
                self._note_lag(info)
                await asyncio.sleep(_ON_ITS_WAY_SECONDS)
                self._note_lag(info)
                if flow.live and info.last_seq > self._ring.position:
                    self._target = info.last_seq
                    flow.end(GAP)

    def _note_lag(self, info: StreamInfo) -> None:
        self._state.lag = max(0, info.last_seq - self._ring.position)

    def _seen_again(self, info: StreamInfo) -> None:
        super()._seen_again(info)
        problem = republish_problem(info, self._state.settings)
        if self._flow is not None and problem is not None:
            self._flow.end(problem)
        elif self._unfit is not None and problem is None and self._pull is not None:
            self._pull.end("the stream republishes now")

    def _republished(self, message: Republished) -> None:
        self._counters.messages_in += 1
        self._last_ts_ms = message.ts_ms
        self._sorter.take(message.seq, message.ts_ms, message.subject, message.headers, message.data)

    def _moved(self, pull: Pull) -> None:
        """Joins the flow where it goes on from here, or where nothing is left to be read before it."""
        flow, position = self._flow, self._ring.position
        if flow is None:
            return
        level = not self._state.lag and position >= max(self._target, flow.newest)
        if level or flow.follows(position):
            if pull.catching_up:
                pull.catching_up = False
                self._state.caught_up()
            pull.end(_JOINED)
