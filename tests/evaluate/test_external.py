"""Encoders of others, probed: their rows say what was loaded, and whether they saw the test films."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pytest

from cxrssl.cohort.read import Cohort, open_cohort
from cxrssl.core.errors import DataError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.external import name_film, probe_external, read_seen
from cxrssl.evaluate.run import ProbeChoices
from cxrssl.images.store import open_images
from cxrssl.model.external import ExternalChoices
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import Evaluation, open_evaluation
from cxrssl.report.write import write_report
from tests.cli import command
from tests.world import make_workspace

MODEL = Path(__file__).parents[1] / "model" / "external" / "dinov2"
QUICK = ProbeSettings(num_resamples=20)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("external"))


@pytest.fixture(scope="module")
def cohort(workspace: Workspace) -> Cohort:
    return open_cohort(workspace.cohorts / "nih")


def probe(workspace: Workspace, seen: Path | None = None, may_overlap: bool = False) -> list[Evaluation]:
    choices = ProbeChoices(may_overlap=may_overlap)
    return probe_external(workspace, ExternalChoices(MODEL), seen, "nih", "hash", QUICK, choices)


def write_list(path: Path, names: Iterable[str]) -> Path:
    path.write_text("".join(f"{name}\n" for name in names))
    return path


def test_an_external_encoder_stands_beside_record_and_view_and_says_what_it_is(workspace: Workspace) -> None:
    first, *baselines = probe(workspace)
    assert [each.settings.kind for each in (first, *baselines)] == ["external", "ehr-only", "view-only", "pixels"]
    assert first.settings.label == "external dinov2, 16 px, saw the test films: unknown"
    source = open_evaluation(first.path).settings.candidate.external
    assert source is not None
    assert source == first.settings.candidate.external
    assert (source.format, source.input_px, source.ignored) == ("huggingface", 16, ("embeddings.mask_token",))
    assert source.seen_note == "there is no list of its training films"
    assert first.scores.findings["Effusion"].auroc.value > 0.5
    assert first.settings.label in write_report(workspace).markdown
    assert probe(workspace)[0].eval_id == first.eval_id


def test_a_list_of_other_films_of_the_cohort_says_no(workspace: Workspace, cohort: Cohort, tmp_path: Path) -> None:
    train = cohort.image_id[cohort.rows_of("train", "hash")]
    seen = write_list(tmp_path / "seen.txt", [f"images/{name}" for name in train])
    first, *_ = probe(workspace, seen)
    source = first.settings.candidate.external
    assert source is not None
    assert (source.saw_test, first.settings.leak) == ("no", "")
    assert source.seen_note == f"its list has {len(train)} films, {len(train)} of them of this cohort, 0 test films"


def test_a_list_with_a_test_film_is_refused_unless_allowed(
    workspace: Workspace, cohort: Cohort, tmp_path: Path
) -> None:
    film = cohort.image_id[cohort.rows_of("test", "hash")[0]]
    seen = write_list(tmp_path / "seen.txt", ["image_id", film])
    with pytest.raises(LeakageError, match="took part in pretraining"):
        probe(workspace, seen)
    first, *_ = probe(workspace, seen, may_overlap=True)
    source = first.settings.candidate.external
    assert source is not None
    assert source.saw_test == "yes"
    assert "took part in pretraining" in first.settings.leak
    assert first.settings.label.endswith("saw the test films: yes")


def test_films_are_found_by_the_hashes_of_their_pixels(workspace: Workspace, cohort: Cohort, tmp_path: Path) -> None:
    hashes = open_images(workspace.images / "nih").index.pixel_hash.astype(str)
    train, test = (cohort.rows_of(split, "hash") for split in ("train", "test"))
    for rows, saw in ((train, "no"), (test[:1], "yes")):
        seen = write_list(tmp_path / f"{saw}.csv", ["pixel_hash", *hashes[rows]])
        first, *_ = probe(workspace, seen, may_overlap=True)
        source = first.settings.candidate.external
        assert source is not None
        assert source.saw_test == saw


def test_folds_are_refused_after_any_film_of_the_list_and_scored_without_one(
    workspace: Workspace, cohort: Cohort, tmp_path: Path
) -> None:
    folds = ProbeSettings(num_resamples=20, folds=3)
    first, *_ = probe_external(workspace, ExternalChoices(MODEL), None, "nih", "", folds, ProbeChoices(baselines=False))
    assert first.scores.num_films == len(cohort)
    assert "transductive" not in first.settings.label
    seen = write_list(tmp_path / "seen.txt", [cohort.image_id[0]])
    with pytest.raises(LeakageError, match="took part in pretraining"):
        probe_external(workspace, ExternalChoices(MODEL), seen, "nih", "", folds, ProbeChoices())


def test_a_list_that_names_no_film_of_the_cohort_proves_nothing(workspace: Workspace, tmp_path: Path) -> None:
    seen = write_list(tmp_path / "seen.csv", ["dicom_id,path", "one,a", "two,b"])
    first, *_ = probe(workspace, seen)
    source = first.settings.candidate.external
    assert source is not None
    assert source.saw_test == "unknown"
    assert source.seen_note == "its list has 2 films, none of them of this cohort by its ids"


def test_ids_are_known_by_path_and_ending(tmp_path: Path) -> None:
    assert [name_film(text) for text in ("./p/q/00001_000.png", r"a\b.DCM", "abc-1.2", "x.jpg ")] == [
        "p/q/00001_000",
        "a/b",
        "abc-1.2",
        "x",
    ]
    named = read_seen(write_list(tmp_path / "p.txt", ["/data/p/q/00001_000.png", "1.2.3", "b"]))
    assert named.find(["1.2.3", "00001_000.png", "00001_001.png", "q", "b"]).tolist() == [0, 1, 4]
    assert read_seen(write_list(tmp_path / "a.txt", ["a.png", "", "b"])).names == {"a", "b"}
    assert read_seen(write_list(tmp_path / "b.csv", ["n,image_id", "1,c.png"])).names == {"c"}
    with pytest.raises(DataError, match="no column of ids among n, m"):
        read_seen(write_list(tmp_path / "c.csv", ["n,m", "1,2"]))
    with pytest.raises(DataError, match="is empty"):
        read_seen(write_list(tmp_path / "d.txt", []))


def test_an_id_of_several_folders_is_one_with_all_of_them(tmp_path: Path) -> None:
    films = [f"patient0000{person}/study1/view1_frontal" for person in (1, 2, 3)]
    lines = ["Path,Sex", "CheXpert-v1.0/train/patient00002/study1/view1_frontal.jpg,Male"]
    seen = read_seen(write_list(tmp_path / "train.csv", lines))
    assert seen.find(films).tolist() == [1]
    assert seen.find([]).tolist() == []


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "no run was named"),
        (["nih-run", "--external", str(MODEL)], "exclude each other"),
        (["nih-run", "--arch", "vit-tiny"], "--arch says nothing without --external"),
        (["--external", str(MODEL), "--pixel-mean", "half"], '--pixel-mean is "half", not a list of numbers'),
        (["--external", str(MODEL), "--encoder", "anchor"], "--encoder names an encoder of a run"),
    ],
)
def test_options_that_do_not_go_together_are_refused(workspace: Workspace, words: list[str], what: str) -> None:
    result = command.run("probe", *words, workspace=workspace.root)
    assert result.returncode == UsageError.exit_code
    assert what in result.stderr


def test_the_command_says_what_it_loaded(workspace: Workspace) -> None:
    words = ("--external", MODEL, "--split", "hash", "--resamples", "20", "--no-baselines")
    result = command.run("probe", *words, workspace=workspace.root)
    assert result.returncode == 0, result.stderr
    assert "dinov2 16 x 2, 2 heads, eps 1e-06" in result.stdout
    assert "films of 16 px, mean 0.485, 0.456, 0.406, deviation 0.229, 0.224, 0.225, by preprocessor" in result.stdout
    assert "saw the test films: unknown; there is no list of its training films" in result.stdout
