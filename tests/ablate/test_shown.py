"""Every screen of the dashboard in every size, on a workspace that the program made from films to an ablation."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.screens.save import make_picture
from cxrssl.dashboard.widgets.tabs import SCREENS
from tests.ablate.conftest import Server, make_place
from tests.dashboard.screen import drive, press, text_of
from tests.golden.dashboard import read_picture

SIZES = ((80, 24), (120, 40), (200, 60))
SHOWN = {
    "runs": ("4 runs", "4 finished", "vanilla", "loss"),
    "curves": ("loss", "record"),
    "ablation": ("study", "record", "vanilla", "primary"),
    "run": ("finished", "recipe", "vit-micro"),
    "cohort": ("nih", "films"),
    "sql": ("SELECT",),
    "films": ("nih", "film 1 of 120"),
}
"""What each screen says of this workspace, in every size."""


@pytest.fixture(scope="module")
def studied(server: Server, template: Workspace, tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    place = make_place(tmp_path_factory.mktemp("shown"), template)
    code, text = server.run(*place.words())
    assert code == 0, text
    return place.workspace


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_screen_shows_what_the_program_made(studied: Workspace, size: tuple[int, int], tmp_path: Path) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        for number, name in enumerate(SCREENS, 1):
            await press(pilot, screen, "escape", str(number))  # the query of sql has the keys
            lines = text_of(pilot).splitlines()
            picture = make_picture(pilot.app, name)
            (tmp_path / f"{name}.svg").write_text(picture)
            text = " ".join(" ".join(lines).split())
            absent = [words for words in SHOWN[name] if words.lower() not in text.lower()]
            assert not absent, "\n".join((name, *lines))
            assert "cannot be" not in text, text
            assert len(lines) == size[1]
            assert lines[-1].strip(), f"{name} has no keys"
            assert [line for line in read_picture(picture) if line] == ["".join(x.split()) for x in lines if x.strip()]

    drive(studied, steps, size)
