"""The dashboard driven by keys, without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.app import DashboardApp
from cxrssl.dashboard.screens.common import CommonScreen
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.view import View

Steps = Callable[[Pilot[None], RunsScreen], Awaitable[None]]


def drive(
    workspace: Workspace,
    steps: Steps,
    size: tuple[int, int] = (120, 40),
    *,
    memory: Path | None = None,
    view: View | None = None,
    keys: Path | None = None,
) -> None:
    async def run() -> None:
        app = DashboardApp(workspace, view, memory, keys=keys)
        async with app.run_test(size=size) as pilot:
            screen = app.screen
            assert isinstance(screen, RunsScreen)
            await settle(pilot, screen)
            await steps(pilot, screen)

    coroutine: Coroutine[Any, Any, None] = run()
    asyncio.run(coroutine)


async def settle(pilot: Pilot[None], screen: CommonScreen) -> None:
    """Read the files again with the screen that is open, and wait until all is shown."""
    opened = next((each for each in reversed(pilot.app.screen_stack) if isinstance(each, CommonScreen)), screen)
    opened.action_read()

    def is_settled() -> bool:
        return opened.state is not None and not opened.is_reading and not opened.state.is_reading

    await until(pilot, is_settled)
    await pilot.pause(0.05)


async def until(pilot: Pilot[None], condition: Callable[[], bool]) -> None:
    """Wait as long as it takes: only a dashboard that hangs takes a minute of the machine's idle time."""
    for _ in range(6000):
        await pilot.pause(0.01)
        if condition():
            return
    pytest.fail("the dashboard hangs")


async def press(pilot: Pilot[None], screen: CommonScreen, *keys: str) -> None:
    await pilot.press(*keys)
    await settle(pilot, screen)


def text_of(pilot: Pilot[None]) -> str:
    return "\n".join(strip.text for strip in pilot.app.screen._compositor.render_strips())
