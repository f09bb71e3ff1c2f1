"""A cohort in counts, its films with hidden ids, and SQL: on a cohort that was ingested by the real code."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from textual.pilot import Pilot
from textual.widgets import Input

from cxrssl.cohort.read import open_cohort
from cxrssl.core.columns import cell_width
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.asked import RESULTS, ask
from cxrssl.dashboard.once import SHOWS, read_once, wrap_lines
from cxrssl.dashboard.reader import Reader
from cxrssl.dashboard.screens.films import FilmsScreen
from cxrssl.dashboard.screens.runs import RunsScreen
from cxrssl.dashboard.screens.sql import SqlScreen
from cxrssl.dashboard.seen import describe_film
from cxrssl.dashboard.text.film import shade_lines, shrink_film
from cxrssl.dashboard.text.people import bar, cohort_sheets
from cxrssl.dashboard.view import View
from cxrssl.dashboard.widgets.film import FilmView
from cxrssl.images.store import open_images
from tests.dashboard.screen import drive, press, text_of, until
from tests.world import make_workspace


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("world"), num_patients=12)


def test_a_cohort_is_counted_by_split_finding_age_and_view(workspace: Workspace) -> None:
    detail = Reader(workspace).read_cohort("nih")
    assert (detail.name, detail.num_films, detail.num_subjects) == ("nih", 24, 12)
    assert sum(films for _, films, _ in detail.splits) == 24
    assert sum(subjects for _, _, subjects in detail.splits) == 12
    assert sum(num for _, num in detail.age) == sum(num for _, num in detail.sex) == 24
    assert dict(detail.age)["18 to 29"] == 18, "patients of 21 to 29 years, two films each"
    assert detail.prevalence is not None
    effusion = detail.prevalence["Effusion"]
    assert sum(each.num_known for each in effusion.values()) == 24
    assert {"Flow", "View", "Age in years, of films"} <= {sheet.title for sheet in cohort_sheets(detail)}


def test_a_cohort_of_another_dataset_shares_no_ids(workspace: Workspace) -> None:
    assert Reader(workspace).read_cohort("nih").overlaps == ()
    assert Reader(workspace).read_cohort("no such cohort").name == "nih"


def test_a_damaged_cohort_is_reported(workspace: Workspace, tmp_path: Path) -> None:
    other = Workspace(tmp_path)
    (other.cohorts / "bad").mkdir(parents=True)
    (other.cohorts / "bad" / "manifest.json").write_text("{")
    assert "cannot be read" in read_once(other, "cohort", View()).text(80)
    assert "manifest" in Reader(other).read_film("bad", 0).problem


def test_ids_and_corners_are_hidden_until_the_key_is_held(workspace: Workspace) -> None:
    ids = Reader(workspace).read_film("nih", 3).ids
    assert dict(ids)["image_id"].startswith("0000")

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "7")
        opened = pilot.app.screen
        assert isinstance(opened, FilmsScreen)
        assert "film 1 of 24" in text_of(pilot)
        assert "hidden: hold v" in text_of(pilot)
        assert "00000001" not in text_of(pilot)
        await pilot.press("v")
        await pilot.pause(0.05)
        assert "00000001" in text_of(pilot)
        await until(pilot, lambda: "hidden: hold v" in text_of(pilot))
        await press(pilot, screen, "right", "right")
        assert "film 3 of 24" in text_of(pilot)
        await press(pilot, screen, "G")
        assert "film 24 of 24" in text_of(pilot)

    drive(workspace, steps)


def test_a_measured_feature_is_shown_in_its_words_and_with_its_age(workspace: Workspace) -> None:
    read = open_cohort(workspace.cohorts / "nih")
    num = len(read)
    cohort = replace(
        read,
        feature_names=np.array([*read.names, "had_heart_failure", "sodium", "potassium"]),
        ehr_values=np.column_stack([read.ehr_values, np.full((num, 3), (1, 138.5, np.nan), np.float32)]),
        ehr_known=np.column_stack([read.ehr_known, np.full((num, 3), (True, True, False))]),
        ehr_age_h=np.full((num, 2), (5.25, np.nan), np.float32),
    )
    images = replace(open_images(workspace.images / "nih"), cohort_sha256=cohort.content_sha256)
    about = dict(describe_film(cohort, images, 0, None, "").about)
    assert [about[name] for name in ("had_heart_failure", "sodium", "potassium")] == [
        "yes", "138.5, 5.2 h before the film", "unknown"
    ]  # fmt: skip
    sources = dict(describe_film(cohort, images, 0, None, "").sources)
    assert (sources["sodium"], sources["sex"]) == ("labevents", "films of nih")
    assert "potassium" not in sources


def test_another_film_is_drawn_even_in_the_place_of_one_that_is_gone(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python gives the id of a removed array to the next one."""
    monkeypatch.setattr("cxrssl.dashboard.widgets.film.id", lambda film: 0, raising=False)

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "7")
        view = pilot.app.screen.query_one(FilmView)
        drawn = []
        for shade in (0, 255):
            view.show(np.full((64, 64), shade, np.uint8), (0, 0, 64, 64), True)
            drawn.append(list(view.render_line(2)))
        assert drawn[0] != drawn[1]

    drive(workspace, steps)


def test_without_colour_a_film_is_drawn_in_characters(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")

    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "7")
        text = text_of(pilot)
        assert "▀" not in text
        assert re.search("[-=:+]{12,}", text)

    drive(workspace, steps, (80, 24))


@pytest.mark.parametrize("name", list(SHOWS))
def test_what_is_printed_fits_the_terminal(workspace: Workspace, name: str) -> None:
    lines = read_once(workspace, name, View()).text(80).split("\n")
    assert max(map(cell_width, lines)) <= 80, lines


def test_a_long_line_continues_in_the_next() -> None:
    text = "head\n  link_status, count of all films\n漢字漢字漢字漢字漢字漢字\n"
    assert wrap_lines(text, 20).split("\n") == [
        "head",
        "  link_status, count",
        "    of all films",
        "漢字漢字漢字漢字漢…",
        "",
    ]
    assert wrap_lines(text, None) == text


def test_no_id_is_printed_without_a_terminal(workspace: Workspace) -> None:
    shown = read_once(workspace, "films", View())
    assert "00000001" not in shown.text(80)
    assert "00000001" not in str(shown.values())


def test_a_film_is_shrunk_to_means() -> None:
    film = np.zeros((40, 40), np.uint8)
    film[:, 20:] = 200
    assert shrink_film(film, 2, 1).tolist() == [[0, 200]]
    assert shrink_film(film[:10, :10], 20, 20).shape == (20, 20)
    assert shade_lines(film, 4) == ["  ##", "  ##"]


def test_a_query_only_reads_and_its_answer_is_a_table(workspace: Workspace) -> None:
    answer = ask(workspace, "nih", "SELECT finding, present FROM label_count ORDER BY 1")
    assert answer.sheet is not None
    assert [column.name for column in answer.sheet.columns] == ["finding", "present"]
    assert not answer.sheet.columns[1].is_left
    assert "only a query is allowed" in ask(workspace, "nih", "DROP TABLE link").error
    assert ask(workspace, "nih", "SELECT nonsense").error
    assert "cxrssl sql --results" in ask(workspace, RESULTS, "FROM run").error
    assert ask(workspace, "nih", "SELECT * FROM range(1500)").is_cut


def test_queries_are_asked_saved_and_copied_as_a_command(workspace: Workspace) -> None:
    async def steps(pilot: Pilot[None], screen: RunsScreen) -> None:
        await press(pilot, screen, "6")
        opened = pilot.app.screen
        assert isinstance(opened, SqlScreen)
        await press(pilot, screen, "escape", "d")
        assert opened.place == "nih"
        assert "label_count" in text_of(pilot), "the tables are listed, each with its columns"
        assert opened.state is not None
        assert opened.state.is_listing
        await press(pilot, screen, "enter")
        assert opened.command() == "cxrssl sql --cohort nih 'FROM \"admission\"'"
        assert "subject_id" in text_of(pilot)
        opened.query_one("#query", Input).clear()
        await press(pilot, screen, "slash", *"SELECT 41+1 AS x", "enter")
        await until(pilot, lambda: "42" in text_of(pilot))
        assert "1 row, " in text_of(pilot).splitlines()[1], "the line does not go on asking"
        await pilot.press("s")
        assert opened.command() == "cxrssl sql --cohort nih 'SELECT 41+1 AS x'"
        assert opened.session.view.queries == ("nih\tSELECT 41+1 AS x",)
        await press(pilot, screen, "slash", *"!", "enter")
        await until(pilot, lambda: "syntax error" in text_of(pilot))

    drive(workspace, steps, (80, 24))


@pytest.mark.parametrize("name", SHOWS)
def test_an_empty_workspace_says_what_to_do_on_every_screen(tmp_path: Path, name: str) -> None:
    shown = read_once(Workspace(tmp_path), name, View())
    assert "cxrssl" in shown.text(80)
    assert shown.values() is not None


def test_bars_are_as_long_as_their_share() -> None:
    assert (bar(0.5, 4), bar(1.0, 4), bar(0.0, 4), bar(0.53, 4), bar(2.0, 3)) == ("██", "████", "", "██▏", "███")
