"""Running something in an AsyncSession on the database of a synchronous engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy.engine import Engine

from tierwright.testing.ground import async_engine_for


def run_async(engine: Engine, work: Callable[[Any], Awaitable[None]]) -> None:
    """Run ``work`` with an AsyncSession."""
    from sqlalchemy.ext.asyncio import AsyncSession

    async def run() -> None:
        asynchronous = async_engine_for(engine)
        async with AsyncSession(asynchronous) as session:
            await work(session)
        await asynchronous.dispose()

    asyncio.run(run())
