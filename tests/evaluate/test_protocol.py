"""Protocols of others: their files, what they drop, and what is said of them."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrssl.audit.evaluations import audit_evaluation, read_evaluated
from cxrssl.cli.protocol import describe_protocol_use
from cxrssl.cohort.read import Cohort
from cxrssl.core.config import read_toml
from cxrssl.core.errors import ConfigError, DataError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.dashboard.rows import make_probe_row
from cxrssl.evaluate.asked import Asked
from cxrssl.evaluate.candidate import Candidate, random_candidate, table_candidate
from cxrssl.evaluate.compare import group_evaluations
from cxrssl.evaluate.descent import HeadFilms, train_heads
from cxrssl.evaluate.evaluation import DROPPED
from cxrssl.evaluate.protocol import (
    Fit,
    Protocol,
    Show,
    _check,
    describe_cost,
    describe_protocol,
    flatten,
    follow,
    load_protocol,
    protocol_names,
    read_protocol,
)
from cxrssl.evaluate.run import ProbeChoices, evaluate_candidates
from cxrssl.evaluate.shown import Read, encode_boxes, parse_read, show_films
from cxrssl.images.store import ImageStore
from cxrssl.model.reading import read_films, read_layers
from cxrssl.recipe.load import load_recipe
from cxrssl.recipe.settings import ViewSettings
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation, open_evaluation
from cxrssl.records.reading import parse_reading
from cxrssl.report.write import write_report
from cxrssl.train.pooled import open_films
from cxrssl.views.affine import middle_boxes, move_boxes
from cxrssl.views.resample import cut_views, whole_views
from tests.cli import command
from tests.pages import PAGES
from tests.small_runs import MINUTE, two_layers
from tests.world import make_workspace

__all__ = ["two_layers"]
CPU = torch.device("cpu")
QUICK = ProbeSettings(num_resamples=20)
FILES = Path(__file__).parents[2] / "cxrssl" / "evaluate" / "protocols"
SAID = {"title", "source"}
MODEL = Path(__file__).parents[1] / "model" / "external" / "dinov2"
SMALL = Protocol(
    name="small",
    read=("last:1+patches", "last:2"),
    uncertain="zeros",
    drops_last=True,
    show=Show(middle_frac=0.9, zoom=(0.9, 1.1), translate_frac=0.1, rotation_deg=10.0, flip_prob=0.5),
    fit=Fit("adam", (1e-3, 1e-1), batch_films=5, epochs=3, schedule="epoch", patience=5),
)
World = tuple[Workspace, Cohort, ImageStore, Candidate]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    workspace = make_workspace(tmp_path_factory.mktemp("protocol"), num_patients=120)
    cohort, images = open_films(workspace, "nih")
    return workspace, cohort, images, random_candidate(workspace, load_recipe("demo", MINUTE), images, CPU)


def evaluate(world: World, protocol: Protocol, *more: Candidate) -> list[Evaluation]:
    workspace, cohort, images, candidate = world
    choices = ProbeChoices(protocol=protocol, device="cpu", asked=Asked("Effusion"))
    return evaluate_candidates(workspace, [candidate, *more], cohort, images, "hash", QUICK, choices)


# ---- files


@pytest.mark.parametrize("name", protocol_names())
def test_every_value_of_a_file_has_a_source_or_is_said_to_be_ours(name: str) -> None:
    values = read_toml(FILES / f"{name}.toml")
    sources, ours = values.pop("sources"), values.pop("ours")
    given = set(flatten(values)) - SAID
    assert set(sources) <= given <= set(sources) | set(ours)
    assert not set(sources) & set(ours)
    protocol = read_protocol(name)
    decided = {key for key in ("findings", "uncertain", "blank") if key not in given}
    assert decided <= set(ours)
    assert protocol.source
    assert protocol.title


def test_the_page_of_protocols_shows_each_with_sources_and_choices() -> None:
    shown = " ".join(PAGES["protocols"].split())
    for name in protocol_names():
        for line in describe_protocol(read_protocol(name)):
            assert " ".join(line.split()) in shown


def test_draws_of_first_weights_are_chosen_each_by_itself_and_the_first_is_that_of_one_draw() -> None:
    rng = np.random.default_rng(5)
    x, reads = rng.normal(size=(60, 4)).astype(np.float32), np.array([[True] * 4, [True, True, False, False]])
    y = np.stack([x[:, 0] + rng.normal(size=60) > 0, x[:, 1] > 0], axis=1).astype(np.int8)
    films = HeadFilms(lambda places, step: x[places], y, x, y, np.array([True, True]))
    fit = Fit("adam", (1e-2, 1e-1), batch_films=20, epochs=3, start="normal")
    one, three = train_heads(films, fit, reads, 0), train_heads(films, dataclasses.replace(fit, draws=3), reads, 0)
    assert three.weight_FE == pytest.approx(one.weight_FE, abs=1e-12)
    assert (three.place, three.epoch, three.auroc) == (one.place, one.epoch, one.auroc)
    assert len(three.others) == 2
    assert len({each.weight_FE.tobytes() for each in (three, *three.others)}) == 3
    assert all(each.place < 4 for each in three.others)
    assert "draws" not in str(Protocol(fit=fit).sha256)
    with pytest.raises(ConfigError, match=r"fit\.patience"):
        _check(Protocol(fit=Fit(patience=2, draws=2)))


def test_the_mean_over_draws_is_that_of_their_test_scores(world: World, tmp_path: Path) -> None:
    several = dataclasses.replace(SMALL, name="several", fit=dataclasses.replace(SMALL.fit, patience=0, draws=3))
    (made,) = evaluate(world, several)
    draws = made.scores.over_draws
    assert draws is not None
    assert (draws.num_draws, draws.lowest <= draws.macro_auroc.value <= draws.highest) == (3, True)
    assert draws.lowest <= made.scores.macro_auroc.value <= draws.highest
    assert open_evaluation(made.path).scores.over_draws == draws
    (one,) = evaluate(world, dataclasses.replace(several, fit=dataclasses.replace(several.fit, draws=1)))
    assert one.scores.macro_auroc.value == pytest.approx(made.scores.macro_auroc.value, abs=1e-9)
    assert "over_draws" not in one.scores.to_dict()
    told = " ".join(describe_protocol_use([made]))
    assert "Mean of heads of 3 draws of the first weights, each chosen on its own: macro AUROC " in told


def test_a_choice_on_test_is_refused_unless_named(tmp_path: Path) -> None:
    path = tmp_path / "a folder with a name of many words" / "another one, so that the path is long" / "mine.toml"
    path.parent.mkdir(parents=True)
    path.write_text('selected_on = "test"\n[fit]\nepochs = 2\n')
    with pytest.raises(UsageError, match="best on the test films") as caught:
        load_protocol(str(path))
    words = shlex.split(caught.value.hint.partition(";")[0])
    assert words[-2:] == ["--protocol", f"{path}:test"]
    assert load_protocol(f"{path}:test").selected_on == "test"
    with pytest.raises(UsageError, match="selects on val"):
        load_protocol("paper:test")
    with pytest.raises(UsageError, match="cannot be"):
        load_protocol("paper:val")


def test_files_that_cannot_be_are_refused_in_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match='no protocol "papr"') as caught:
        read_protocol("papr")
    assert "paper" in caught.value.hint
    for text, what in (
        ("[fit]\nrates = []\n", "name one or more"),
        ("[fit]\nrates = [0.0]\n", "are positive"),
        ("[show]\nzoom = [1.1, 0.9]\n", "is a range from"),
        ("[fit]\nrate = [0.1]\n", 'unknown key "rate"'),
        ("sources = 3\n", "must be a table of words"),
    ):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        with pytest.raises(ConfigError, match=what):
            read_protocol(str(path))
    path = tmp_path / "paper.toml"
    path.write_text("")
    with pytest.raises(ConfigError, match="called paper"):
        read_protocol(str(path))


def test_a_protocol_decides_labels_and_is_part_of_the_terms() -> None:
    settings, asked = follow(read_protocol("cxformer"), QUICK, Asked("", "ones"))
    assert (asked.findings, asked.uncertain) == ("nih8", "ignore")
    assert (settings.protocol, settings.selected_on, settings.drop_batch) == ("cxformer", "val", None)
    assert settings.num_resamples == 20
    assert not settings.is_whole
    assert settings.asked == "protocol cxformer, selected on val"
    assert follow(read_protocol("paper"), QUICK, Asked())[0].drop_batch == 64
    assert follow(None, QUICK, Asked("nih8")) == (QUICK, Asked("nih8"))
    other = dataclasses.replace(SMALL, fit=dataclasses.replace(SMALL.fit, epochs=4))
    assert SMALL.sha256 != other.sha256
    assert SMALL.sha256 == dataclasses.replace(SMALL, title="another", sources={"read": "there"}).sha256


def test_the_cost_is_films_times_epochs() -> None:
    said = describe_cost(read_protocol("paper"), 325_200, 2)
    assert said == (
        "protocol paper: at most 50 epochs of 325,184 films, encoded anew: at most 16,259,200 films for each of "
        "2 encoders"
    )
    assert "10 epochs of 160,000 films, encoded anew: 1,600,000 films" in describe_cost(
        read_protocol("cxformer"), 80_000, 1
    )
    assert describe_cost(dataclasses.replace(SMALL, show=Show()), 10, 1).endswith("each film is encoded once")


# ---- films


def test_readings_are_columns_of_what_is_read_at_once() -> None:
    most = Read(4, True)
    assert [parse_read(each) for each in ("cls", "last:4", "patches", "last:4+patches")] == [
        Read(1, False), Read(4, False), Read(0, True), Read(4, True),
    ]  # fmt: skip
    assert Read(1, True).columns(most, 2).tolist() == [False] * 6 + [True] * 4
    assert Read(4, False).columns(most, 1).tolist() == [True] * 4 + [False]
    with pytest.raises(UsageError, match="cannot read"):
        parse_read("cls+knn:3")


def test_layers_and_patches_are_those_of_the_readings(world: World) -> None:
    _, _, images, candidate = world
    encoder = candidate.encoder
    assert encoder is not None
    films = torch.from_numpy(images.read_rows(np.arange(3)))
    valid = torch.from_numpy(images.box_N4[:3].astype(np.float32))
    found = read_layers(encoder, whole_views(films, valid, encoder.recipe.views), 2, has_patches=True)
    wanted = [read_films(encoder, films, valid, parse_reading(each)) for each in ("last:2", "patches")]
    assert torch.allclose(found, torch.cat(wanted, dim=1), atol=1e-5)


def test_unchanged_films_are_cached_and_changed_ones_are_functions_of_seed_and_step(world: World) -> None:
    workspace, _, images, candidate = world
    assert candidate.encoder is not None
    shown = show_films(workspace, candidate.encoder, images, CPU, SMALL)
    again = show_films(workspace, candidate.encoder, images, CPU, SMALL)
    rows = np.arange(4)
    assert np.array_equal(shown.features_NE, again.features_NE)
    assert np.allclose(shown[rows], encode_boxes(shown, rows, None, images.size_px), atol=1e-5)
    assert np.array_equal(shown.change(rows, 0, 5), again.change(rows, 0, 5))
    assert not np.allclose(shown.change(rows, 0, 5), shown.change(rows, 0, 6))
    assert not np.allclose(shown.change(rows, 0, 5), shown[rows])
    assert shown.shape == (len(images.is_packed_N), 3 * 24)
    still = dataclasses.replace(SMALL, show=dataclasses.replace(SMALL.show, zoom=(1.0, 1.0), translate_frac=0.0))
    fixed = dataclasses.replace(still, show=dataclasses.replace(still.show, rotation_deg=0.0, flip_prob=0.0))
    assert not fixed.show.is_changed
    valid = torch.tensor([[2.0, 0.0, 40.0, 60.0]])
    boxes = middle_boxes(valid, 0.5)
    assert [float(each) for each in boxes[:4]] == [12.0, 20.0, 20.0, 20.0]


def test_a_moved_box_is_where_the_affine_map_of_torchvision_shows_the_middle_of_the_view() -> None:
    valid = torch.tensor([[0.0, 0.0, 50.0, 40.0]] * 3)
    views = ViewSettings(rotation_deg=30.0, flip_prob=0.0)
    start = middle_boxes(valid, 0.8, views, seed=1)
    reach = (torch.full((3, 1), 50.0), torch.full((3, 1), 40.0))
    moved = move_boxes(start, reach, (0.8, 1.25), 0.1, seed=2)
    drawn = torch.rand((3, 3, 1), generator=torch.Generator().manual_seed(2))
    for film in range(3):
        zoom = 0.8 + 0.45 * float(drawn[0, film])
        assert float(moved.height_BV[film]) == pytest.approx(32.0 / zoom, rel=1e-6)
        assert float(moved.width_BV[film]) == pytest.approx(32.0 / zoom, rel=1e-6)
        down = float(moved.top_BV[film] + moved.height_BV[film] / 2) - 25.0
        across = float(moved.left_BV[film] + moved.width_BV[film] / 2) - 20.0
        angle = math.radians(float(start.angle_deg_BV[film]))
        # Forward: a point of the film, turned back and enlarged about its middle, then shifted, is the view's middle.
        seen_across = zoom * (math.cos(angle) * across + math.sin(angle) * down)
        seen_down = zoom * (-math.sin(angle) * across + math.cos(angle) * down)
        assert seen_down == pytest.approx(-(float(drawn[1, film]) * 2 - 1) * 5.0, abs=1e-4)
        assert seen_across == pytest.approx(-(float(drawn[2, film]) * 2 - 1) * 4.0, abs=1e-4)


def test_a_view_of_a_turned_box_is_the_film_at_the_turned_points() -> None:
    places = torch.arange(64) + 0.5
    film = (2 * places[None, :] + places[:, None])[None]  # what is linear stays so under any filter
    valid = torch.tensor([[0.0, 0.0, 64.0, 64.0]])
    views = ViewSettings(rotation_deg=25.0, flip_prob=0.0, pixel_mean=0.0, pixel_std=1.0)
    boxes = move_boxes(middle_boxes(valid, 0.4, views, 3), (torch.ones(1, 1), torch.ones(1, 1)), (0.9, 1.1), 3.0, 4)
    view = cut_views(film, valid, boxes, 8, views, 64.0)[0, 0, 0] * 255
    side = float(boxes.height_BV)
    angle = math.radians(float(boxes.angle_deg_BV))
    u = (torch.arange(8) + 0.5 - 4) * side / 8
    across = float(boxes.left_BV) + side / 2 + math.cos(angle) * u[None, :] - math.sin(angle) * u[:, None]
    down = float(boxes.top_BV) + side / 2 + math.sin(angle) * u[None, :] + math.cos(angle) * u[:, None]
    assert torch.allclose(view, 2 * across + down, atol=0.3)


# ---- evaluations


def test_the_last_films_that_do_not_fill_a_batch_are_left_out_counted_and_named(world: World) -> None:
    workspace, cohort, images, _ = world
    record = table_candidate(cohort, ("view",), "view-only")
    first, beside = evaluate(world, SMALL, record)
    test = cohort.rows_of("test", "hash")
    val = cohort.rows_of("val", "hash")
    lost = {split: rows[len(rows) - len(rows) % 5 :] for split, rows in (("val", val), ("test", test))}
    assert first.scores.num_films == len(test) - len(test) % 5
    assert first.scores.num_dropped == {split: len(rows) for split, rows in lost.items()}
    named = list(csv.reader(io.StringIO((first.path / DROPPED).read_text())))
    assert named[1:] == [[split, cohort.image_id[row]] for split, rows in lost.items() for row in rows]
    assert np.array_equal(first.predictions().image_id, beside.predictions().image_id)
    assert first.scores.head is not None
    assert beside.scores.head is None
    assert beside.scores.strengths
    assert [len(group) for group in group_evaluations([first, beside])] == [2]
    results = audit_evaluation(read_evaluated(first), workspace, cohort, images, ())
    assert [each.code for each in results if each.severity not in ("ok", "skipped")] == []
    with pytest.raises(DataError, match="fill a batch of 64"):
        evaluate(world, dataclasses.replace(SMALL, fit=dataclasses.replace(SMALL.fit, batch_films=64)))


def test_a_second_run_gives_equal_numbers(world: World) -> None:
    workspace = world[0]
    (first,) = evaluate(world, SMALL)
    logits, scores = first.predictions().logits, first.scores
    shutil.rmtree(first.path)
    for folder in list(workspace.features.iterdir()):
        shutil.rmtree(folder)
    (again,) = evaluate(world, SMALL)
    assert np.array_equal(again.predictions().logits, logits)
    assert again.scores.to_dict() == scores.to_dict()
    assert scores.head is not None
    assert scores.head.rate in SMALL.fit.rates
    assert scores.head.read in SMALL.read
    assert 0 <= scores.head.auroc <= 1
    assert math.isfinite(scores.macro_auroc.value)


def test_what_was_selected_on_test_says_so_wherever_it_is_shown(world: World) -> None:
    workspace = world[0]
    protocol = dataclasses.replace(SMALL, name="peer", selected_on="test", drops_last=False)
    (found,) = evaluate(world, protocol)
    assert found.scores.selected_on == "test"
    assert found.scores.to_dict()["head"]["selected_on"] == "test"
    assert found.settings.label.endswith(", selected on test")
    assert found.settings.probe.asked.startswith("protocol peer, selected on test")
    # The head that is kept is the one of the highest score on the very films that are reported.
    assert found.scores.head is not None
    assert found.scores.head.auroc == pytest.approx(found.scores.macro_auroc.value, abs=1e-9)
    assert make_probe_row(found).label.endswith(", selected on test")
    report = write_report(workspace).markdown
    assert report.startswith("selected on: test, by protocol `peer`")
    assert "protocol peer, selected on test" in report
    (own,) = evaluate(world, SMALL)
    assert own.settings.terms != found.settings.terms
    assert "selected on test" not in own.settings.label


# ---- command


def test_the_command_follows_a_protocol_and_refuses_what_it_decides(world: World, tmp_path: Path) -> None:
    workspace = world[0]
    place = ["--workspace", str(workspace.root)]
    for words, what in (
        (("--uncertain", "ignore"), "protocol paper decides what --uncertain would say"),
        (("--read", "patches"), "protocol paper decides what --read would say"),
        (("--folds", "5"), "--folds goes without --protocol"),
        (("--with", "ehr"), "--with goes without --protocol"),
        (("--head",), "--head goes without --protocol"),
    ):
        refused = command.run("probe", "some", "--protocol", "paper", *words, *place)
        assert (refused.returncode, what in refused.stderr) == (2, True), refused.stderr
    refused = command.run("probe", "some", "--protocol", "cxformer", "--findings", "nih14", *place)
    assert "protocol cxformer decides what --findings would say" in refused.stderr


def test_the_command_prints_what_the_protocol_did(world: World, tmp_path: Path) -> None:
    path = tmp_path / "quick.toml"
    path.write_text(
        'selected_on = "test"\ndrops_last = true\n[show]\nflip_prob = 0.5\n[fit]\nbatch_films = 5\nepochs = 1\n'
    )
    words = ("probe", "--external", MODEL, "--cohort", "nih", "--split", "hash", "--findings", "Effusion")
    more = ("--resamples", "20", "--no-baselines", "--device", "cpu", "--protocol", f"{path}:test")
    done = command.run(*words, *more, workspace=world[0].root)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("selected on: test (protocol quick)")
    assert "cls, rate 0.001, epoch 1 of 1" in done.stdout
    assert "Protocol quick, heads selected on: test. Uncertain labels count as ignore" in done.stdout
    assert "Left out, as they do not fill a batch of 5: " in done.stdout
    assert "protocol quick: 1 epoch of " in done.stderr
