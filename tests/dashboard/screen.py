"""The dashboard driven by keys, without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest
from textual.pilot import Pilot

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.app import DashboardApp
from cxrssl.dashboard.screens.runs import RunsScreen

Steps = Callable[[Pilot[None], RunsScreen], Awaitable[None]]


def drive(workspace: Workspace, steps: Steps, size: tuple[int, int] = (120, 40)) -> None:
    async def run() -> None:
        app = DashboardApp(workspace)
        async with app.run_test(size=size) as pilot:
            screen = app.screen
            assert isinstance(screen, RunsScreen)
            await settle(pilot, screen)
            await steps(pilot, screen)

    coroutine: Coroutine[Any, Any, None] = run()
    asyncio.run(coroutine)


async def settle(pilot: Pilot[None], screen: RunsScreen) -> None:
    screen.action_read()
    await until(pilot, lambda: screen.state is not None and not screen.is_reading)
    await pilot.pause(0.05)


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait as long as it takes: only a dashboard that hangs takes a minute of the machine's idle time."""
    for _ in range(6000):
        await pilot.pause(0.01)
        if condition():
            return
    pytest.fail("the dashboard hangs")


async def press(pilot: Pilot[None], screen: RunsScreen, *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot, screen)


def text_of(pilot: Pilot[None]) -> str:
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())
