"""`cxrssl runs export --safe`: nothing in the archive names anybody, and the same numbers come out elsewhere."""

from __future__ import annotations

import csv
import dataclasses
import getpass
import json
import platform
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest

from cxrssl.core.artefact import publish
from cxrssl.core.errors import CxrsslError, DataError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.candidate import open_run
from cxrssl.export.conditions import Conditions
from cxrssl.export.cut import name_condition
from cxrssl.export.intake import import_runs
from cxrssl.export.safe import INSIDE, SCORE_FIELDS, export_runs
from cxrssl.export.unnamed import Names, find_name
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.records.evaluation import list_evaluations, open_evaluation, publish_evaluation
from cxrssl.records.scores import EvalScores
from cxrssl.report.write import write_report
from cxrssl.results.store import build, fold_store
from cxrssl.stats.matched import Matched
from tests.cli.command import run
from tests.export.results import FILMS, HOST, NUM_FILMS, NUM_SUBJECTS, PEOPLE, RARE, USER, make_results
from tests.records.folders import make_run
from tests.results.test_store import content_of

RUNS = ["vanilla", "record"]


@pytest.fixture(scope="module")
def common(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Results without small cells but what was decoded for few."""
    return make_results(tmp_path_factory.mktemp("safe") / "canary-folder" / "common")


@pytest.fixture(scope="module")
def rare(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    """Results with a finding of six subjects, of runs that have seen films that they are tested on."""
    place = tmp_path_factory.mktemp("safe") / "canary-folder" / "rare"
    return make_results(place, has_rare=True, leak="3 test films of person-canary-0003 took part in pretraining")


def export(workspace: Workspace, out: Path, *names: str) -> Path:
    return export_runs(workspace, names or ("vanilla-s0", "vanilla-s1", "record-s0", "record-s1"), out).path


def unpack(path: Path) -> dict[str, bytes]:
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def read_rows(folder: Path, name: str) -> list[dict[str, str]]:
    with open(folder / name, newline="") as file:
        return list(csv.DictReader(file))


def test_nothing_in_the_archive_names_a_subject_a_film_a_path_a_host_or_a_user(
    rare: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: USER)
    monkeypatch.setattr(platform, "node", lambda: HOST)
    path = export(rare, tmp_path / "a.zip")
    data = b"\n".join(
        [path.read_bytes(), *(each for pair in unpack(path).items() for each in (pair[0].encode(), pair[1]))]
    )
    named = (PEOPLE, FILMS, HOST, USER, "canary", str(rare.root), str(Path.home()) + "/", '"pid', '"boot')
    assert [each for each in named if each.encode() in data] == []


def test_what_is_in_it_is_chosen_field_by_field(rare: Workspace, tmp_path: Path) -> None:
    files = unpack(export(rare, tmp_path / "a.zip"))
    about = json.loads(files["runs/record-s0/run.json"])
    assert "ehr_columns" not in about or about["ehr_columns"] == []
    assert about["versions"] == {}
    assert (about["commit"], about["code_sha256"]) == ("c" * 40, "")
    events = [json.loads(line) for line in files["runs/record-s0/events.jsonl"].splitlines()]
    assert [set(each) - {"ts", "step"} for each in events] == [{"event"}] * 4
    curves = [json.loads(line) for line in files["runs/record-s0/metrics-0001.jsonl"].splitlines()]
    assert len(curves) == 5
    assert (curves[4]["probe_auroc"], "probe_auroc Hernia" in curves[4], "films" in curves[4]) == (0.123, False, False)
    settings = json.loads(files["evals/record-s0-on-mimic-paper-0/settings.json"])
    assert settings["leak"] == "the run has seen films or people that it is tested on"
    assert set(json.loads(files["evals/record-s0-on-mimic-paper-0/scores.json"])) <= SCORE_FIELDS


def test_somebody_has_decided_of_each_score_whether_it_may_leave() -> None:
    undecided = {field.name for field in dataclasses.fields(EvalScores)} ^ (SCORE_FIELDS | INSIDE)
    assert not undecided, "name it in SCORE_FIELDS, and its counts of people in cut.TENS and find_cut; or in INSIDE"


def test_a_score_that_nobody_has_looked_at_stays_inside(tmp_path: Path) -> None:
    """Of a matched score nobody knows the people, and a protocol leaves out the films that do not fill a batch."""
    own = make_results(tmp_path / "own", seeds=(0,))
    path = own.evals / "record-s0-on-mimic-paper-0"
    made = open_evaluation(path)
    interval = made.scores.macro_auroc
    matched = {"Edema": Matched(interval, 100, 0.4)}
    scores = dataclasses.replace(
        made.scores,
        is_matched=True,
        matched_on=("view",),
        matched=matched,
        macro_matched=interval,
        num_dropped={"val": 3},
    )
    publish_evaluation(path, made.settings, scores, made.predictions(), None)
    assert {"matched", "macro_matched", "num_dropped"} < set(json.loads((path / "scores.json").read_text()))
    files = unpack(export(own, tmp_path / "a.zip", "record-s0"))
    shown = json.loads(files["evals/record-s0-on-mimic-paper-0/scores.json"])
    assert INSIDE.isdisjoint(shown)
    assert set(shown) <= SCORE_FIELDS
    assert shown["macro_auroc"]["value"] == round(interval.value, 3)


def test_the_words_and_films_of_a_condition_stay_inside_and_equal_conditions_stay_equal(tmp_path: Path) -> None:
    condition = "study_id <> 50000032 AND view = 'PA'"
    asked = ProbeSettings(num_resamples=50, where=condition, where_sha256="f" * 64)
    own = make_results(tmp_path / "own", seeds=(0,), probe=asked)
    files = unpack(export(own, tmp_path / "a.zip", "vanilla-s0", "record-s0"))
    told = (b"50000032", b"view = ", b"f" * 64)
    assert [name for name, data in files.items() if any(each in data for each in told)] == []
    settings = [json.loads(files[f"evals/{name}-s0-on-mimic-paper-0/settings.json"]) for name in ("vanilla", "record")]
    assert [each["probe"]["where"] for each in settings] == [name_condition(0)] * 2
    assert len({each["probe"]["where_sha256"] for each in settings}) == 1
    elsewhere = Workspace(tmp_path / "elsewhere").create()
    import_runs(elsewhere, tmp_path / "a.zip")
    pair = (elsewhere.evals / f"{name}-s0-on-mimic-paper-0" for name in ("vanilla", "record"))
    assert len({open_evaluation(each).settings.terms for each in pair}) == 1


def test_numbers_of_conditions_are_of_one_archive_and_keep_apart_what_was_apart(tmp_path: Path) -> None:
    own = make_results(tmp_path / "own", seeds=(0,))
    about = open_evaluation(own.evals / "record-s0-on-mimic-paper-0").settings
    probes = [ProbeSettings(where="a = 1", where_sha256=each * 64) for each in "aabc"]
    all_settings = [dataclasses.replace(about, probe=probe) for probe in probes]
    made = Conditions.of_archive([], [(each, "s") for each in all_settings])
    other = Conditions.of_archive([], [(each, "t") for each in all_settings])
    hidden = [made.hide(each) for each in all_settings]
    terms = [each.terms for each in hidden]
    assert (terms[0] == terms[1], len(set(terms))) == (True, 3)
    assert set(terms).isdisjoint(other.hide(each).terms for each in all_settings), "beside another archive"
    assert set(terms).isdisjoint(each.terms for each in all_settings), "beside own results"
    names = {made.rename("record-on-mimic-paper-0123abcd", each, place) for place, each in enumerate(hidden)}
    assert len(names) == 4
    assert all(re.fullmatch(r"record-on-mimic-paper-(?!0123abcd)[0-9a-f]{8}", name) for name in names)
    assert made.rename("record-on-mimic-paper-0123abcd", about, 0) == "record-on-mimic-paper-0123abcd"


def test_an_archive_is_not_written_into_a_dataset_folder(tmp_path: Path) -> None:
    workspace = make_results(tmp_path / "w", seeds=(0,))
    films = tmp_path / "films"
    (films / "deep").mkdir(parents=True)
    with publish(workspace.cohorts / "mimic", "cohort", {"dataset": "mimic"}, {"root": str(films)}) as folder:
        (folder / "a").write_text("a")
    for place in (films / "a.zip", films / "deep" / ".." / "a.zip"):
        refused = run("runs", "export", "record-s0", "--safe", "--out", place, workspace=workspace.root)
        assert refused.returncode == 2
        assert "inside the dataset folder, which is never written to" in refused.stderr
    assert [path.name for path in films.iterdir()] == ["deep"]
    (workspace.cohorts / "mimic" / "manifest.json").write_text("{")
    assert export(workspace, tmp_path / "a.zip", "record-s0").is_file(), "of a damaged cohort nobody knows the folder"


def test_findings_of_few_subjects_and_all_that_would_tell_them_are_out(rare: Workspace, tmp_path: Path) -> None:
    files = unpack(export(rare, tmp_path / "a.zip"))
    own = open_evaluation(rare.evals / "record-s0-on-mimic-paper-0").scores
    scores = json.loads(files["evals/record-s0-on-mimic-paper-0/scores.json"])
    assert own.findings[RARE].num_pos_subjects == 6
    assert set(scores["findings"]) == {"Edema", "Effusion", "Mass"}
    assert set(scores["decoded"]) == {"sex"}
    numbers = [value for each in scores["findings"].values() for key, value in each.items() if key.startswith("num_")]
    assert all(number % 10 == 0 for number in numbers)
    assert scores["macro_auroc"]["value"] == round(own.macro_auroc.value, 3)
    assert own.macro_auroc.value != round(own.macro_auroc.value, 3)
    for name, data in files.items():
        if name.startswith(("comparisons/", "groups/")):
            assert RARE.encode() not in data
    shown = files["README.txt"].decode()
    assert "record-s0-on-mimic-paper-0: Hernia, race" in shown
    assert "ids of subjects, studies and films" in shown


@pytest.mark.parametrize("which", ["common", "rare"])
def test_a_report_elsewhere_shows_equal_numbers_and_their_origin(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    own: Workspace = request.getfixturevalue(which)
    elsewhere = Workspace(tmp_path / "elsewhere").create()
    made = import_runs(elsewhere, export(own, tmp_path / "a.zip"))
    reports = [write_report(each, name="r").folder for each in (own, elsewhere)]
    for name in ("results.csv", "seeds.csv"):
        first, second = (read_rows(each, name) for each in reports)
        first = [row for row in first if row["finding"] != RARE]
        assert len(first) == len(second) > 10
        for a, b in zip(first, second, strict=True):
            assert {key: a[key] for key in ("finding", "metric", "label", "against") if key in a} == {
                key: b[key] for key in ("finding", "metric", "label", "against") if key in b
            }
            for key in ("value", "lo", "hi"):
                assert float(b[key]) == pytest.approx(round(float(a[key]), 3), abs=1e-12)
    tables = [
        re.findall(r"0\.\d{3} \[0\.\d{3}, 0\.\d{3}\]|[+-]0\.\d{3}", (each / "report.md").read_text())
        for each in reports
    ]
    assert set(tables[1]) <= set(tables[0])
    assert len(tables[1]) > 20
    text = (reports[1] / "report.md").read_text()
    assert re.search(rf"\| record-s0 +\| imported from archive {made.sha256[:12]}, finished ", text)
    assert f"`view-only-on-mimic-paper-0`: imported from archive {made.sha256[:12]}" in text
    assert f"macro mean over {3 + (which == 'rare')} findings" in text
    shown = run(
        "sql", "--results", "SELECT kind, count(*) FROM imported GROUP BY ALL ORDER BY kind", workspace=elsewhere.root
    )
    assert re.findall(r"(run|evaluation) +(\d)", shown.stdout) == [("evaluation", "7"), ("run", "4")]
    once = run("dashboard", "--once", workspace=elsewhere.root)
    assert f"4 runs imported from archive {made.sha256[:12]}" in once.stdout
    assert "7 evaluations imported from archive" in once.stdout


def test_numbers_without_small_cells_are_equal_to_the_last_digit(tmp_path: Path) -> None:
    own = make_results(tmp_path / "own", seeds=(0,))
    for path in own.evals.glob("*/scores.json"):
        assert "race" in path.read_text()
    from tests.export import results

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(results, "decode", dict)
        own = make_results(tmp_path / "whole", seeds=(0,))
    elsewhere = Workspace(tmp_path / "elsewhere").create()
    import_runs(elsewhere, export(own, tmp_path / "a.zip", "vanilla-s0", "record-s0"))
    first, second = (read_rows(write_report(each, name="r").folder, "results.csv") for each in (own, elsewhere))
    assert first == second
    (found,) = {each.scores.num_subjects for each in list_evaluations(elsewhere)[0]}
    assert (found, NUM_FILMS) == (NUM_SUBJECTS, 2 * NUM_SUBJECTS)


def test_made_twice_it_has_equal_bytes(common: Workspace, tmp_path: Path) -> None:
    first, second = (export(common, tmp_path / name) for name in ("a.zip", "b.zip"))
    assert first.read_bytes() == second.read_bytes()


def test_what_was_imported_is_read_only(common: Workspace, tmp_path: Path) -> None:
    elsewhere = Workspace(tmp_path / "elsewhere").create()
    archive = export(common, tmp_path / "a.zip")
    first, second = import_runs(elsewhere, archive), import_runs(elsewhere, archive)
    assert (first.num_new > 10, second.num_new) == (True, 0)
    evaluation = open_evaluation(elsewhere.evals / "record-s0-on-mimic-paper-0")
    with pytest.raises(DataError, match="stayed where it was made"):
        evaluation.predictions()
    with pytest.raises(UsageError, match="was imported from an archive: it can be read, and not used to encode films"):
        open_run(elsewhere, "record-s0")
    refused = run("runs", "export", "record-s0", "--safe", "--out", tmp_path / "b.zip", workspace=elsewhere.root)
    assert "was imported: hand on the archive" in refused.stderr
    with pytest.raises(UsageError, match=r"holds another .*: nothing was imported"):
        import_runs(common, archive)


def test_what_was_imported_and_is_said_of_it_later_is_folded_in(common: Workspace, tmp_path: Path) -> None:
    elsewhere, archive = Workspace(tmp_path / "elsewhere").create(), export(common, tmp_path / "a.zip")
    make_run(elsewhere, "own", range(5))
    fold_store(elsewhere)
    import_runs(elsewhere, archive)
    run("runs", "log", "record-s0", "external=0.5", workspace=elsewhere.root)
    fold_store(elsewhere)
    build(oracle := tmp_path / "oracle.duckdb", elsewhere, None)
    assert content_of(elsewhere.store) == content_of(oracle)
    shown = run(
        "sql", "--results", "--csv", "SELECT run_id FROM metric WHERE key = 'external'", workspace=elsewhere.root
    )
    assert shown.stdout == "run_id\nrecord-s0\n"
    assert import_runs(elsewhere, archive).num_new == 0


def test_a_run_that_goes_on_and_other_words_are_one_sentence(common: Workspace, tmp_path: Path) -> None:
    make_run(common, "going-on", range(2))
    for words, what in (
        (("record-s0", "--out", tmp_path / "a.zip"), "runs export needs --safe"),
        (("record-s0", "--safe", "--out", tmp_path / "a"), "--out is no name of an archive"),
        (("going-on", "--safe", "--out", tmp_path / "a.zip"), "has not ended: it is running"),
        (("nosuch", "--safe", "--out", tmp_path / "a.zip"), 'no run "nosuch"'),
        (("record-s0", "--safe", "--out", common.runs / "a.zip"), "among the workspace's own folders"),
    ):
        refused = run("runs", "export", *words, workspace=common.root)
        assert refused.returncode in (2, 3)
        assert what in refused.stderr
        assert refused.stderr.count("error") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (f"{PEOPLE}-0003", "the id of a subject or a film"),
        ("10000032", "the id of a subject or a film"),
        (f"msn-{USER}-2", "the name of a user or a host"),
    ],
)
def test_a_run_whose_own_name_names_somebody_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    monkeypatch.setattr(getpass, "getuser", lambda: USER)
    workspace = make_results(tmp_path / "w", seeds=(0,))
    films = workspace.runs / "record-s0" / "encoder"
    folder = make_run(workspace, name, range(2), end="finish")
    films.rename(folder / "encoder")
    if name.isdecimal():
        monkeypatch.setattr(Names, "of", classmethod(lambda cls, ids: Names(frozenset({name}), frozenset())))
    with pytest.raises(DataError, match=f"holds {kind}, and nothing that leaves may") as caught:
        export(workspace, tmp_path / "a.zip", name)
    assert not (tmp_path / "a.zip").exists()
    assert caught.value.hint


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("view IN ('PA', 'AP')", ""),
        ("films/s", ""),
        ("where subject_id != 10000032", "the id of a subject or a film"),
        ("p10000032.dcm", "the id of a subject or a film"),
        ("/data/mimic", "a path"),
        ("see C:\\films", "a path"),
        ("~/films", "a path"),
        ("ward7.hospital", "the name of a user or a host"),
    ],
)
def test_texts_that_name_somebody(text: str, kind: str) -> None:
    names = Names(frozenset({"10000032", "p10000032"}), frozenset({"ward7"}))
    assert find_name(text, names) == kind


def test_short_ids_are_in_any_text_by_chance_and_are_not_looked_for() -> None:
    assert Names.of(["1", "12345", "123456", "ab", "abcde"]).ids == {"123456", "abcde"}


def test_a_damaged_run_is_not_exported(tmp_path: Path) -> None:
    workspace = make_results(tmp_path / "w", seeds=(0,))
    (workspace.runs / "record-s0" / "run.json").write_text("{")
    with pytest.raises(CxrsslError):
        export(workspace, tmp_path / "a.zip", "record-s0")


def test_the_command_says_what_it_wrote(common: Workspace, tmp_path: Path) -> None:
    words: tuple[Any, ...] = ("runs", "export", "record-s0", "record-s1", "--safe", "--out", tmp_path / "a.zip")
    shown = run(*words, workspace=common.root)
    assert shown.returncode == 0, shown.stderr
    assert "a.zip written: 2 runs, 5 evaluations" in shown.stdout
    refused = run(*words, workspace=common.root)
    assert (refused.returncode, "the file is there already" in refused.stderr) == (2, True)
    assert run(*words, "--force", workspace=common.root).returncode == 0
    made = run("runs", "import", tmp_path / "a.zip", workspace=tmp_path / "elsewhere")
    assert "2 runs, 5 evaluations" in made.stdout
    assert "next: cxrssl report" in made.stdout
