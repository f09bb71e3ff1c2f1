"""Grids: what a file expands to, what a control and a baseline of an arm is, and what is refused in one sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from cxrssl.ablate.grid import Grid, grid_names, load_grid
from cxrssl.core.errors import ConfigError, UsageError
from cxrssl.recipe.load import load_recipe
from tests.golden.help import read_help

HEAD = """
recipe = "demo"
seeds = [3, 5]
[primary]
arm = "record"
against = "vanilla"
"""
ARMS = """
[arms.vanilla]
ehr.features = []
[arms.record]
ehr.features = ["view", "demo"]
"""


def load(folder: Path, text: str, controls: bool = False) -> Grid:
    path = folder / "study.toml"
    path.write_text(text)
    return load_grid(str(path), controls)


def refuse(folder: Path, text: str) -> UsageError:
    with pytest.raises(UsageError) as caught:
        load(folder, text)
    return caught.value


def test_every_arm_has_the_seeds_of_the_grid_and_its_own_keys(tmp_path: Path) -> None:
    grid = load(tmp_path, HEAD + ARMS)
    assert (grid.name, [row.arm for row in grid.rows]) == ("study", ["vanilla", "record"])
    assert {row.seeds for row in grid.rows} == {(3, 5)}
    vanilla, record = (row.load(5) for row in grid.rows)
    assert vanilla == load_recipe("demo", ["train.seed=5"])
    assert record.ehr.features == ("sex", "age", "view")
    assert [row.arm for row in grid.primary] == ["record", "vanilla"]


def test_words_of_a_row_make_the_same_recipe_as_the_row(tmp_path: Path) -> None:
    text = HEAD + ARMS + 'views.global_scale = [0.4, 1]\nehr.fusion = "film"\ntrain.lr_per_epoch = true\n'
    row = load(tmp_path, text).rows[1]
    words = row.words(3)
    assert words[:2] == ["--recipe", "demo"]
    assert load_recipe("demo", words[3::2]) == row.load(3)
    assert row.load(3).views.global_scale == (0.4, 1.0)


def test_an_arm_runs_for_each_value_of_the_axes_that_it_leaves_open(tmp_path: Path) -> None:
    axes = 'cohorts = ["a", "b"]\nbackbones = ["vit-micro", "vit-tiny"]\nfeatures = ["sex", "meta"]\n'
    text = axes + HEAD.replace('"record"\n', '"record/vit-tiny/sex"\ncohort = "b"\n').replace(
        '"vanilla"\n', '"vanilla/vit-tiny"\n'
    )
    arms = '[arms.vanilla]\nehr.features = []\n[arms.record]\nonly.cohorts = ["b"]\n'
    grid = load(tmp_path, text + arms)
    assert [(row.arm, row.cohort) for row in grid.rows] == [
        ("vanilla/vit-micro", "a"), ("vanilla/vit-micro", "b"), ("vanilla/vit-tiny", "a"), ("vanilla/vit-tiny", "b"),
        ("record/vit-micro/sex", "b"), ("record/vit-micro/meta", "b"),
        ("record/vit-tiny/sex", "b"), ("record/vit-tiny/meta", "b"),
    ]  # fmt: skip
    last = grid.rows[-1]
    assert last.load(3).model.backbone == "vit-tiny"
    assert last.load(3).ehr.features == ("view", "position")
    baseline = grid.baseline_of(last)
    assert baseline is grid.rows[3]
    assert grid.baseline_of(baseline) is None


def test_controls_are_added_to_each_arm_with_the_record_and_zeros_only_where_nothing_is_predicted(
    tmp_path: Path,
) -> None:
    grid = load(tmp_path, HEAD + ARMS + '[arms.predict]\nehr.features = []\nehr.predict = ["age"]\n', controls=True)
    names = [row.arm for row in grid.rows]
    assert names == ["vanilla", "record", "predict", "record, shuffled", "record, zeros", "predict, shuffled"]
    found = {row.arm: [each.arm for each in grid.controls_of(row)] for row in grid.rows}
    assert found["record"] == ["record, shuffled", "record, zeros"]
    assert found["predict"] == ["predict, shuffled"]
    assert found["vanilla"] == found["record, zeros"] == []


def test_an_arm_written_by_hand_is_the_control_of_the_arm_that_it_equals_otherwise(tmp_path: Path) -> None:
    wrong = '[arms.wrong]\nehr.features = ["view", "demo"]\nehr.control = "noise"\n'
    grid = load(tmp_path, HEAD + ARMS + wrong)
    assert [each.arm for each in grid.controls_of(grid.rows[1])] == ["wrong"]


def test_a_control_that_the_grid_has_as_an_arm_is_not_added(tmp_path: Path) -> None:
    wrong = '[arms.wrong]\nehr.features = ["view", "demo"]\nehr.control = "shuffled"\n'
    grid = load(tmp_path, HEAD + ARMS + wrong, controls=True)
    assert [row.arm for row in grid.rows] == ["vanilla", "record", "wrong", "record, zeros"]
    assert [each.arm for each in grid.controls_of(grid.rows[1])] == ["wrong", "record, zeros"]


@pytest.mark.parametrize("name", grid_names())
def test_every_grid_of_the_package_may_have_its_controls_added(name: str) -> None:
    grid = load_grid(name, controls=True)
    for row in grid.rows:
        has_record = row.first.ehr.control == "none" and (row.first.ehr.features or row.first.ehr.predict)
        assert [each.first.ehr.control for each in grid.controls_of(row)].count("shuffled") == bool(has_record)


def test_an_arm_that_fixes_an_axis_itself_is_compared_with_the_baseline_of_its_value(tmp_path: Path) -> None:
    text = 'backbones = ["vit-micro", "vit-tiny"]\n' + HEAD.replace('"vanilla"\n', '"vanilla/vit-micro"\n')
    grid = load(tmp_path, text + ARMS + 'model.backbone = "vit-micro"\n[arms.big]\nmodel.backbone = "vit-small"\n')
    baselines = {row.arm: grid.baseline_of(row) for row in grid.rows}
    assert baselines["record"] is grid.rows[0]
    assert grid.rows[0].arm == "vanilla/vit-micro"
    assert baselines["big"] is None


def test_a_grid_without_the_usual_baseline_has_none_unless_it_names_one(tmp_path: Path) -> None:
    renamed = (HEAD + ARMS).replace("vanilla", "plain")
    grid = load(tmp_path, renamed)
    assert [grid.baseline_of(row) for row in grid.rows] == [None, None]
    named = load(tmp_path, 'baseline = "plain"' + renamed)
    assert named.baseline_of(named.rows[1]) is named.rows[0]


def test_naming_an_outcome_counts_as_permission_to_use_it(tmp_path: Path) -> None:
    grid = load(tmp_path, HEAD + ARMS.replace('"demo"]', '"mortality"]'))
    assert grid.rows[1].load(3).ehr.may_use_outcomes


@pytest.mark.parametrize(
    ("text", "what", "hint"),
    [
        (HEAD, "a grid needs arms", "[arms.vanilla]"),
        ("arms = 3" + HEAD, "a grid needs arms", ""),
        (HEAD.replace("[3, 5]", "[3, 3]") + ARMS, '"seeds" must be a list of different whole numbers', ""),
        (HEAD.replace("[3, 5]", "[]") + ARMS, '"seeds" must be a list of different whole numbers', ""),
        (HEAD.replace("[3, 5]", "[0, -1]") + ARMS, 'every one of "seeds" must be from 0 to 2147483648', ""),
        (HEAD.replace("[3, 5]", "[0, 2147483649]") + ARMS, 'every one of "seeds" must be from 0 to 2147483648', ""),
        (HEAD.replace("[3, 5]", "3") + ARMS, '"seeds" must be a list of whole numbers, not 3', ""),
        ("baseline = 'vanila'\n" + HEAD + ARMS, 'the baseline is arm "vanila", which is not there', '"vanilla"'),
        ("features = ['sexx']\n" + HEAD + ARMS + "[arms.x]", 'arm x: there is no feature or group "sexx"', '"sex"'),
        (
            HEAD.replace('"vanilla"\n', '"vanilla"\ncohort = "a"\n') + ARMS,
            'on cohort "a", on which',
            "none that is named",
        ),
        ("sead = 1\n" + HEAD + ARMS, 'unknown key "sead"', '"seeds"'),
        (ARMS, "the grid declares no primary comparison", "[primary]"),
        (HEAD.replace('"vanilla"', '"record"') + ARMS, 'the primary comparison is of arm "record" with itself', ""),
        (HEAD.replace('"vanilla"', '"vanila"') + ARMS, 'names arm "vanila", which is not there', '"vanilla"'),
        (HEAD + ARMS + "train.seed = 1", 'arm record: "train.seed" is not for one arm', '"seeds"'),
        (HEAD + ARMS + "train.sed = 1", 'arm record: unknown key "sed" in [train]', ""),
        (HEAD + ARMS + "train = 1", "arm record: it must hold sections of a recipe", ""),
        (HEAD + ARMS + "ehr.embed_dim = 0", "embed_dim", ""),
        (HEAD + ARMS.replace("[]", "[]\nehr.control = 'zeros'"), '"ehr.control" has no effect', ""),
        (HEAD + ARMS + "only.planets = ['x']", "must be a table of backbones", ""),
        (HEAD + ARMS + "only.cohorts = ['x']", 'names "x", which is none of the cohorts', ""),
        ("cohorts = ['a']\n" + HEAD + ARMS + "only.cohorts = []", "must name some cohorts", ""),
        (HEAD + ARMS + "[arms.again]\nehr.features = ['view', 'demo']", "record and again are the same run", ""),
        ("cohorts = ['a', 'b']\n" + HEAD + ARMS, "the primary comparison names no cohort", "of a, b"),
        ("recipe = [", "not a readable TOML file", ""),
        (HEAD + ARMS + "[probe]\nblank = 'x'", '"probe.blank" cannot be "x"', ""),
        (HEAD + ARMS + "[probe]\nfolds = 2", "--folds is 2", "3 to 20"),
        (HEAD + ARMS + "[probe]\nseed = 3", '"probe.seed" is not for a grid', "num_resamples"),
    ],
)
def test_what_cannot_be_is_refused_in_one_sentence(tmp_path: Path, text: str, what: str, hint: str) -> None:
    error = refuse(tmp_path, text)
    assert what in error.what
    assert "\n" not in error.what
    assert error.where == str(tmp_path / "study.toml")
    assert hint in error.hint


def test_an_unknown_grid_gets_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match='no grid "quik"') as caught:
        load_grid("quik")
    assert caught.value.hint == 'nearest is "quick"'


@pytest.mark.parametrize("name", grid_names())
def test_every_grid_of_the_package_has_a_question_and_three_seeds_in_each_arm(name: str) -> None:
    grid = load_grid(name)
    assert grid.settings.question
    assert all(len(row.seeds) == 3 for row in grid.rows)
    assert all(grid.baseline_of(row) or row.base == grid.settings.baseline for row in grid.rows)


def test_the_controlled_study_has_54_runs_and_a_wrong_record_beside_the_forms_in_world_disease() -> None:
    grid = load_grid("controls")
    worlds = {cohort: [row.arm for row in grid.rows if row.cohort == cohort] for cohort in grid.settings.cohorts}
    in_none, in_look = ["vanilla", "paper", "identity"], ["identity-wrong", "predict"]
    assert worlds == {
        "demo-none": [*in_none, "predict-skill"],
        "demo-look": [*in_none, *in_look, "predict-skill"],
        "demo-disease": [*in_none, *in_look, "predict-wrong", "both", "predict-skill"],
    }
    assert sum(len(row.seeds) for row in grid.rows) == 54
    found = {row.name: [each.name for each in grid.controls_of(row)] for row in grid.rows}
    assert found["identity on demo-disease"] == ["identity-wrong on demo-disease"]
    assert found["predict on demo-disease"] == ["predict-wrong on demo-disease"]
    assert [row.name for row in grid.primary] == ["predict on demo-disease", "vanilla on demo-disease"]


def test_the_papers_grid_has_its_fifteen_feature_sets_on_two_backbones_and_three_objectives_without() -> None:
    grid = load_grid("paper")
    arms = [row.arm for row in grid.rows]
    assert len(arms) == 2 * (15 + 3)
    assert len({row.axes["features"] for row in grid.rows if row.base == "record"}) == 15
    assert {row.load(0).train.rows for row in grid.rows} == {"train"}
    assert {row.load(0).objective.name for row in grid.rows if row.base == "vanilla"} == {"msn", "dino", "mae"}
    record, vanilla = grid.primary
    assert grid.baseline_of(record) is vanilla


def test_the_help_names_the_grids_of_the_package() -> None:
    assert f"a grid of the package: {', '.join(grid_names())}." in read_help("ablate")
