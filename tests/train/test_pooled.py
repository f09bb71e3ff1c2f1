"""A run on several cohorts: the films of all in one order, every patient in one split, what is unknown never zero."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from cxrssl.audit.checks import refuse
from cxrssl.audit.gate import audit_candidate
from cxrssl.audit.pretraining import audit_films
from cxrssl.audit.seen import Pretraining, list_films, part_by_cohort, read_pretraining
from cxrssl.cohort.pool import MIXED, PooledCohort, order_films
from cxrssl.cohort.where import find_films
from cxrssl.core.errors import DataError, LeakageError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.recipe.load import load_recipe
from cxrssl.records.encoder import EhrInput, open_record
from cxrssl.records.steps import iter_metrics
from cxrssl.train import loop
from cxrssl.train.folder import describe_run
from cxrssl.train.order import batch_rows, even_places, find_step
from cxrssl.train.plan import RunPlan, plan_run
from cxrssl.train.pooled import list_members, open_data, open_films
from cxrssl.train.record import load_record
from cxrssl.train.shown import cut_film
from cxrssl.views.shown import AskedViews
from tests.scale import scaled
from tests.several import SHARED, ingest, make_several
from tests.small_runs import CPU, MINUTE, read_run, run_until, two_layers, weights_of
from tests.world import write_nih

__all__ = ["two_layers"]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return make_several(tmp_path_factory.mktemp("pooled"))


def plan_on(workspace: Workspace, folder: Path, cohorts: str, *overrides: str, ehr: tuple[str, ...] = ()) -> RunPlan:
    own = Workspace(folder).create()
    for part in ("cohorts", "images"):
        if not (folder / part).exists():
            (folder / part).symlink_to(workspace.root / part)
    changes = {"ehr": {"features": list(ehr)}} if ehr else {}
    recipe = load_recipe("demo", [*MINUTE, *overrides], changes)
    return plan_run(own, cohorts, recipe, CPU, find_films=find_films)


def losses(plan: RunPlan) -> list[tuple[int, float, float]]:
    return [(each["step"], each["loss"], each["grad_norm"]) for each in iter_metrics(plan.folder)]


@pytest.mark.parametrize("overrides", [(), ("ehr.predict=['age']", "ehr.control=shuffled")])
def test_a_cohort_split_in_two_gives_the_losses_and_weights_of_the_whole(
    workspace: Workspace, tmp_path: Path, overrides: tuple[str, ...]
) -> None:
    whole = plan_on(workspace, tmp_path, "whole", *overrides, ehr=("sex", "view"))
    parts = plan_on(workspace, tmp_path, "odd, even", *overrides, ehr=("sex", "view"))
    assert parts.cohort.image_id.tolist() == whole.cohort.image_id.tolist()
    assert np.array_equal(parts.rows, whole.rows)
    loop.pretrain(whole)
    loop.pretrain(parts)
    assert len(losses(whole)) == whole.num_steps >= 6
    assert losses(parts) == losses(whole)
    assert weights_of(parts) == weights_of(whole)
    assert parts.run_id != whole.run_id
    assert parts.run_id.startswith("even+odd-")


def test_the_order_of_names_makes_no_other_run_and_a_name_twice_is_refused(
    workspace: Workspace, tmp_path: Path
) -> None:
    first, second = (plan_on(workspace, tmp_path, names) for names in ("odd,even", "even,odd"))
    assert first.run_id == second.run_id
    assert first.cohort.name == "even,odd"
    for names, what in (("odd,odd", "named twice"), ("odd,", "empty name"), ("odd,evn", 'no cohort "evn"')):
        with pytest.raises(UsageError, match=what):
            plan_on(workspace, tmp_path, names)


def test_a_stopped_run_on_several_cohorts_ends_with_the_weights_of_an_undisturbed_one(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed = plan_on(workspace, tmp_path / "a", "covid,odd", "data.mix=even", ehr=("sex",))
    stopped = plan_on(workspace, tmp_path / "b", "covid,odd", "data.mix=even", ehr=("sex",))
    loop.pretrain(undisturbed)
    run_until(stopped, 3, monkeypatch)
    assert loop.pretrain(stopped).resumed_from == 3
    assert weights_of(stopped) == weights_of(undisturbed)


def test_shared_patients_are_kept_in_the_latest_split_and_named_by_a_count(
    workspace: Workspace, tmp_path: Path
) -> None:
    plan = plan_on(workspace, tmp_path, "covid,whole")
    cohort, covid = plan.cohort, open_films(workspace, "covid")[0]
    assert isinstance(cohort, PooledCohort)
    split = cohort.split_of(plan.scheme)
    for person in np.unique(cohort.subject_id):
        assert len(set(split[cohort.subject_id == person])) == 1
    first, second = SHARED
    of_covid = dict(zip(covid.subject_id[cohort.row_N[cohort.member_N == 0]], split[cohort.member_N == 0], strict=True))
    assert (of_covid[first], of_covid[second]) == ("test", "train")
    said = [sentence for sentence in plan.warnings if "patients" in sentence]
    assert said == [
        "2 patients with films in several of the cohorts, by id or by the same film; each is kept in the latest split "
        "that one of the cohorts has it in: 2 train films left out"
    ]
    loop.pretrain(plan)
    about = read_run(plan.folder).description
    assert about.num_shared_patients == 2
    assert [(each.cohort, each.dataset, each.num_left_out) for each in about.cohorts] == [
        ("covid", "covid", 2),
        ("whole", "nih", 0),
    ]
    assert sum(each.num_films for each in about.cohorts) == about.num_films == len(plan.rows)
    record = open_record(plan.files.encoder)
    films = record.films()
    assert films.cohort is not None
    assert first not in films.of_cohort("covid").subject_id
    assert {*films.of_cohort("whole").image_id} <= {*open_films(workspace, "whole")[0].image_id}
    # The audit of the run agrees: it has seen no test film of either cohort, and would have seen those of a patient.
    run = read_pretraining(Workspace(tmp_path), plan.run_id)
    for name in ("covid", "whole"):
        there, images = open_films(workspace, name)
        refuse(audit_candidate("run", run.features, run, there, images, there.default_split), name)
    alone = plan_on(workspace, tmp_path, "covid")
    loop.pretrain(alone)
    there, images = open_films(workspace, "whole")
    with pytest.raises(LeakageError, match="took part in pretraining under another id"):
        run = read_pretraining(Workspace(tmp_path), alone.run_id)
        refuse(audit_candidate("run", run.features, run, there, images, "hash"), "whole")


def test_a_run_on_several_cohorts_is_refused_on_the_test_films_of_another_split(
    workspace: Workspace, tmp_path: Path
) -> None:
    plan = plan_on(workspace, tmp_path, "covid,odd", "train.rows=all")
    loop.pretrain(plan)
    run = read_pretraining(Workspace(tmp_path), plan.run_id)
    for name in ("covid", "odd", "whole"):
        there, images = open_films(workspace, name)
        with pytest.raises(LeakageError, match=rf"test films? .*of cohort {name} took part in pretraining"):
            refuse(audit_candidate("run", run.features, run, there, images, "hash"), name)


def test_a_feature_that_a_cohort_lacks_is_unknown_in_its_films_and_never_zero(
    workspace: Workspace, tmp_path: Path
) -> None:
    plan = plan_on(workspace, tmp_path, "covid,whole", ehr=("sex", "age"))
    cohort = plan.cohort
    assert isinstance(cohort, PooledCohort)
    record, columns = load_record(plan), plan.ehr_columns
    of_covid = plan.rows[cohort.member_N[plan.rows] == 0]
    assert len(of_covid)
    given = record.given_NM[of_covid]
    for column, name in enumerate(columns):
        assert (given[:, column] == (1 if name.endswith(" unknown") else 0)).all(), name
    known = record.given_NM[plan.rows[cohort.member_N[plan.rows] == 1]]
    assert (known[:, [name.endswith(" unknown") for name in columns]] == 0).all()
    assert "no training film of cohort covid has a known sex, age: unknown there, and never zero" in plan.warnings
    predicted = load_record(plan_on(workspace, tmp_path, "covid,whole", "ehr.predict=['age']"))
    assert not predicted.known_NF[of_covid].any()
    for missing in ("zero", "paper"):
        what = f'nothing is known of "sex" in cohort covid, and ehr.missing = "{missing}"'
        with pytest.raises(UsageError, match=what):
            plan_on(workspace, tmp_path, "covid,whole", f"ehr.missing={missing}", ehr=("sex",))


def test_a_finding_that_a_cohort_has_no_column_of_is_not_learnt_as_absent(workspace: Workspace, tmp_path: Path) -> None:
    own = Workspace(tmp_path).create()
    for part in ("cohorts", "images"):
        (tmp_path / part).symlink_to(workspace.root / part)
    sets = ["model.patch_px=8", "views.global_px=16", "train.batch_size=8", "train.num_epochs=1"]
    recipe = load_recipe("demo", sets, {"objective": {"name": "supervised"}})
    plan = plan_run(own, "covid,whole", recipe, CPU)
    cohort = plan.cohort
    assert isinstance(cohort, PooledCohort)
    labels = load_record(plan).labels_NL
    assert labels is not None
    here = plan.rows[cohort.member_N[plan.rows] == 0]
    effusion = plan.finding_names.index("Effusion")
    assert (labels[here, effusion] == -1).all()
    there = plan.rows[cohort.member_N[plan.rows] == 1]
    assert {*labels[there, effusion].tolist()} == {0, 1}


@pytest.mark.parametrize("sizes", [(5, 64), (40, 40, 7), (1, 3)])
def test_even_epochs_show_every_cohort_alike_and_each_film_before_any_again(sizes: tuple[int, ...]) -> None:
    num, num_epochs = sum(sizes), 12
    epochs = [even_places(np.arange(num), 3, epoch, sizes) for epoch in range(num_epochs)]
    ends = np.cumsum(sizes)
    for drawn in epochs:
        counts = np.bincount(np.searchsorted(ends, drawn, side="right"), minlength=len(sizes))
        assert counts.max() - counts.min() <= 1
    times = np.bincount(np.concatenate(epochs), minlength=num)
    for first, end in zip(ends - sizes, ends, strict=True):
        assert times[first:end].max() - times[first:end].min() <= 1
    assert not np.array_equal(even_places(np.arange(num), 4, 0, sizes), epochs[0])


def test_an_even_run_takes_its_films_from_the_cohorts_in_turn(workspace: Workspace, tmp_path: Path) -> None:
    plan = plan_on(workspace, tmp_path, "covid,whole", "data.mix=even", "train.num_epochs=20")
    cohort = plan.cohort
    assert isinstance(cohort, PooledCohort)
    rows = np.concatenate([batch_rows(plan, step) for step in range(plan.num_steps)])
    assert {*rows.tolist()} == {*plan.rows.tolist()}
    share = (cohort.member_N[rows] == 0).mean()
    assert share == pytest.approx(0.5, abs=0.05)
    assert share > 2 * (cohort.member_N[plan.rows] == 0).mean()
    for place, row in enumerate(batch_rows(plan, plan.steps_per_epoch + 1).tolist()):  # of the second epoch
        found = find_step(plan, row, 1)
        assert found is not None
        assert batch_rows(plan, found[0])[found[1]] == row
        assert found <= (plan.steps_per_epoch + 1, place)
    assert plan.run_id != plan_on(workspace, tmp_path, "covid,whole", "train.num_epochs=20").run_id
    with pytest.raises(UsageError, match=r'"data\.mix" has no effect: the run is on cohort whole alone'):
        plan_on(workspace, tmp_path, "whole", "data.mix=even")


def test_a_condition_chooses_films_and_is_part_of_the_run(workspace: Workspace, tmp_path: Path) -> None:
    everything = plan_on(workspace, tmp_path, "whole")
    chosen = plan_on(workspace, tmp_path, "whole", "data.where=view = 'PA'")
    is_pa = everything.cohort.view[everything.rows] == "PA"
    assert chosen.rows.tolist() == everything.rows[is_pa].tolist()
    assert chosen.num_outside_where == (~is_pa).sum() > 0
    assert chosen.run_id != everything.run_id
    assert f"only films where view = 'PA': {chosen.num_outside_where} train films left out" in chosen.warnings
    named = plan_on(workspace, tmp_path, "whole", "data.where=image_id <> 'smith'")
    assert "only films where image_id <> …: 0 train films left out" in named.warnings
    assert "data" not in everything.recipe.to_dict()
    pooled = plan_on(workspace, tmp_path, "odd,even", "data.where=view = 'PA'")
    assert pooled.rows.tolist() == chosen.rows.tolist()
    loop.pretrain(pooled)
    about = read_run(pooled.folder).description
    assert about.recipe["data"] == {"where": "view = 'PA'"}
    assert about.num_outside_where == chosen.num_outside_where
    with pytest.raises(UsageError, match="no film of cohort covid is left"):
        plan_on(workspace, tmp_path, "covid,whole", "data.where=view = 'AP'")
    with pytest.raises(UsageError, match="cohort covid: --where"):
        plan_on(workspace, tmp_path, "covid,whole", "data.where=nothing = 1")


def test_views_are_not_shown_of_a_member_that_was_made_anew(workspace: Workspace, tmp_path: Path) -> None:
    own = Workspace(tmp_path / "own").create()
    for part in ("cohorts", "images"):
        for name in ("odd", "even"):
            shutil.copytree(workspace.root / part / name, own.root / part / name)
    plan = plan_on(workspace, own.root, "odd,even")
    plan.folder.mkdir(parents=True)
    describe_run(plan, torch.device("cpu"))
    asked = AskedViews(str(own.root), "odd", 0, plan.run_id)
    assert cut_film(asked).views
    for part in ("cohorts", "images"):
        shutil.rmtree(own.root / part / "even")
    ingest(own, write_nih(tmp_path / "other", num_patients=6), "even")
    with pytest.raises(DataError, match="older state of cohort"):
        cut_film(asked)


def test_films_of_two_sizes_are_refused_in_a_sentence(workspace: Workspace, tmp_path: Path) -> None:
    own = Workspace(tmp_path / "own").create()
    shutil.copytree(workspace.cohorts, own.cohorts)
    shutil.copytree(workspace.images, own.images)
    ingest(own, workspace.root.parent / "odd", "odd", size_px=32)
    with pytest.raises(DataError, match="cohort even are packed at 48 px and those of cohort odd at 32 px"):
        open_data(own, "odd,even")


def test_a_film_of_two_cohorts_is_taken_once_and_two_films_of_one_id_are_two(
    workspace: Workspace, tmp_path: Path
) -> None:
    plan = plan_on(workspace, tmp_path / "runs", "odd,whole")
    whole, odd = open_films(workspace, "whole")[0], open_films(workspace, "odd")[0]
    assert isinstance(plan.cohort, PooledCohort)
    assert len(plan.cohort) == len(whole)
    assert f"{len(odd)} films that several of the cohorts hold: each is taken once" in plan.warnings
    assert plan.cohort.num_shared_persons == len(np.unique(odd.subject_id))
    own = Workspace(tmp_path / "own").create()
    for number in (1, 2):  # two hospitals with the same numbers, and films of their own
        ingest(own, write_nih(tmp_path / f"hospital-{number}", seed=number), f"hospital-{number}")
    both = plan_on(own, tmp_path / "others", "hospital-1,hospital-2")
    assert len(both.cohort) == 2 * len(open_films(own, "hospital-1")[0])
    assert len(both.rows) == 2 * len(plan_on(own, tmp_path / "others", "hospital-1").rows)


def test_a_film_that_was_packed_in_two_ways_is_one(workspace: Workspace) -> None:
    cohort, images = open_films(workspace, "whole")
    ours, theirs = images.index.pixel_hash.copy(), images.index.pixel_hash.copy()
    theirs[:] = [bytes([number % 250 + 1]) * 32 for number in range(len(theirs))]
    theirs[0], ours[1] = b"", b""  # each could not be packed in one of them
    order = order_films([cohort, cohort], [ours, theirs], ["one way", "another"])
    assert sorted(order.row_N.tolist()) == list(range(len(cohort)))
    taken = dict(zip(order.row_N.tolist(), order.member_N.tolist(), strict=True))
    assert [taken[row] for row in (0, 1, 2)] == [0, 1, 0]
    assert len(order_films([cohort, cohort], [ours, theirs], ["one way", "one way"]).row_N) == 2 * len(cohort)


def test_cohorts_with_other_default_splits_keep_their_own(workspace: Workspace, tmp_path: Path) -> None:
    root = tmp_path / "listed"
    write_nih(root, num_patients=20, seed=5)
    names = sorted(path.name for path in (root / "images").iterdir())
    (root / "train_val_list.txt").write_text("\n".join(names[:30]) + "\n")
    (root / "test_list.txt").write_text("\n".join(names[30:]) + "\n")
    own = Workspace(tmp_path / "own").create()
    shutil.copytree(workspace.cohorts, own.cohorts)
    shutil.copytree(workspace.images, own.images)
    ingest(own, root, "listed")
    plan = plan_on(own, tmp_path / "runs", "covid,listed")
    assert plan.scheme == plan.recipe.train.split == MIXED
    assert "each cohort is split by its own default: hash of cohort covid, official of cohort listed" in plan.warnings
    cohort = plan.cohort
    assert isinstance(cohort, PooledCohort)
    listed = open_films(own, "listed")[0]
    seen = cohort.row_N[plan.rows[cohort.member_N[plan.rows] == 1]]
    assert {*listed.split_official[seen].tolist()} == {"train"}
    assert plan_run(Workspace(tmp_path / "runs"), "listed,covid", plan.recipe, CPU).run_id == plan.run_id
    with pytest.raises(UsageError, match='has no split "official"'):
        plan_on(own, tmp_path / "runs", "covid,listed", "train.split=official")


def test_patients_of_hannover_whose_films_the_covid_collection_holds_are_in_one_split(
    real_data: Path, tmp_path: Path
) -> None:
    if not scaled(False, True):
        pytest.skip("packs 597 films; run with CXRSSL_FULL=1")
    own, maps = Workspace(tmp_path).create(), Path(__file__).parents[1] / "cohort" / "maps"
    ingest(own, real_data / "covid19_cxr", "covid", "covid", size_px=96)
    ingest(own, real_data / "hannover_covid19", "hannover", "folder", size_px=96, map=maps / "hannover.toml")
    plan = plan_run(own, "covid,hannover", load_recipe("demo"), CPU)
    cohort = plan.cohort
    assert isinstance(cohort, PooledCohort)
    assert cohort.num_shared_persons >= 45  # 49 where this was written; a codec may move one
    members = list_members(cohort, plan.images, plan.scheme, plan.rows)
    assert members is not None
    assert all(each.num_left_out for each in members)
    packs = {each.name: open_films(own, each.name)[1] for each in cohort.members}
    films = list_films(cohort, plan.images, plan.rows)
    run = Pretraining("run", cohort.dataset, cohort.name, plan.scheme, "", EhrInput(()), films)
    for name in packs:
        there, images = open_films(own, name)
        found = audit_films(part_by_cohort(run, members, packs.get), there, images, "hash")
        assert not [each.finding for each in found if each.finding]
