"""HTTP/1.1 with deadlines: a client that sends or reads too slowly loses its connection.

uvicorn alone waits for a request without limit, so some hundred silent connections would use up the server's files.
"""

from __future__ import annotations

import asyncio
from typing import Literal

from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 15.0
"""From the connection, or a further request's first byte, to the end of the headers."""
BODY_SECONDS = 120.0
"""For a whole body: 16 MB at some 1 Mbit/s."""
READING_SECONDS = 60.0
"""For a client that takes nothing of an answer that waits for it."""
_LATE = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
Phase = Literal["headers", "body", ""]


class DeadlineProtocol(H11Protocol):
    """Ends a connection with 408 where nothing is answered yet. Between two requests uvicorn's own timeout counts."""

    header_seconds = HEADER_SECONDS
    body_seconds = BODY_SECONDS
    reading_seconds = READING_SECONDS
    _phase: Phase = ""
    _deadline: asyncio.TimerHandle | None = None
    _stalled: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._enter("headers")

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._enter(self._awaited())

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._enter(self._awaited())

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter("")
        self._resumed()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(self.reading_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        self._resumed()
        super().resume_writing()

    def _awaited(self) -> Phase:
        if self.cycle is not None and not self.cycle.response_complete:
            return "body" if self.cycle.more_body else ""
        return "headers" if self.conn.trailing_data[0] or self.cycle is None else ""

    def _enter(self, phase: Phase) -> None:
        if phase == self._phase:
            return
        if self._deadline is not None:
            self._deadline.cancel()
        self._phase, self._deadline = phase, None
        if phase:
            seconds = self.header_seconds if phase == "headers" else self.body_seconds
            self._deadline = self.loop.call_later(seconds, self._expire)

    def _expire(self) -> None:
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_LATE)
        self.transport.close()

    def _resumed(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None
