"""Answers sent in parts: one that cannot be finished is cut off, so that nobody takes half of it for the whole."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing

from engine.encode import Streamed
from engine.errors import generic
from engine.request import Request, Send

# seconds that a caller may take to receive one part; a database connection waits with him
PATIENCE = 60.0


async def begun(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """The parts, the first of which is there already: what fails before it is answered as an error."""
    first = await anext(parts, None)

    async def chained() -> AsyncGenerator[bytes, None]:
        async with aclosing(parts):
            if first is not None:
                yield first
            async for part in parts:
                yield part

    return chained()


async def send_parts(send: Send, request: Request, answer: Streamed) -> None:
    """Send the answer. What is raised here leaves it unfinished; a caller who has left ends it without an error."""
    headers = (*answer.headers, (b"x-request-id", request.id.encode()))
    gone = asyncio.create_task(request.gone())
    try:
        async with aclosing(answer.parts) as parts:
            await send({"type": "http.response.start", "status": answer.status, "headers": headers})
            async for part in parts:
                if gone.done():
                    return
                await _send(send, part)
        await send({"type": "http.response.body", "body": b""})
    finally:
        gone.cancel()


async def _send(send: Send, part: bytes) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            await send({"type": "http.response.body", "body": part, "more_body": True})
    except TimeoutError:
        raise generic("bad_request", "The caller took too long to receive a part") from None
