"""The declared features: parsing, roles, encoding."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cxrssl.cohort.encoding import band_index, encode_features, feature_columns, fill_as_paper, scale_numbers
from cxrssl.cohort.feature import Scale, band_labels
from cxrssl.cohort.features import (
    AGE_BANDS,
    FEATURE_NAMES,
    FEATURES,
    GROUPS,
    PAPER_FEATURES,
    find_feature,
    is_outcome_used,
    name_features,
    parse_ehr,
)
from cxrssl.cohort.words import UNKNOWN, WORDS, word_rows
from cxrssl.core.errors import UsageError
from tests.scale import scaled

PAPER = ("sex", "age", "view", "position", "mortality", "icu")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("demo", ("sex", "age")),
        ("demo,meta,stay", PAPER),
        ("demo,age5", ("sex", "age5")),
        ("age10,stay,demo", ("sex", "age10", "mortality", "icu")),
        ("social", ("race", "insurance", "language", "marital_status")),
        ("prior,admission", ("admission_type", "admission_location", "ed_arrival", "prior")),
        ("icu, demo", ("sex", "age", "icu")),
        ("age,demo,age", ("sex", "age")),
        ("none", ()),
    ],
)
def test_groups_and_single_names_mix_in_declared_order(text: str, names: tuple[str, ...]) -> None:
    assert parse_ehr(text) == names


def test_unknown_name_names_the_nearest() -> None:
    with pytest.raises(UsageError) as caught:
        parse_ehr("demo,mortalty")
    assert caught.value.hint == 'nearest is "mortality"'


@pytest.mark.parametrize("text", ["", " , ", "none,demo", "age,age5", "age5,age10"])
def test_nothing_and_contradiction_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_ehr(text)


def test_outcomes_are_what_is_known_only_after_the_film() -> None:
    outcomes = [name for name in FEATURE_NAMES if is_outcome_used([name])]
    assert outcomes == [name for name in FEATURE_NAMES if find_feature(name).known == "after"]
    assert {"mortality", "los"} <= set(outcomes)
    assert is_outcome_used(parse_ehr("stay"))
    assert is_outcome_used(parse_ehr("discharge"))
    assert not is_outcome_used(parse_ehr("demo,meta,icu,social,admission,course"))


def test_groups_of_the_paper_are_the_papers() -> None:
    assert {group: parse_ehr(group) for group in ("demo", "meta", "stay")} == {
        "demo": ("sex", "age"),
        "meta": ("view", "position"),
        "stay": ("mortality", "icu"),
    }
    assert set(PAPER_FEATURES) == {*PAPER, "age5", "age10"}


@pytest.mark.parametrize("names", [parse_ehr(group) for group in GROUPS] + [PAPER, ("sex", "age5", "prior"), ("los",)])
def test_the_shortest_name_is_parsed_back(names: tuple[str, ...]) -> None:
    assert parse_ehr(name_features(names, ",")) == names


def test_widths_are_those_of_the_published_feature_files() -> None:
    # Single features, then groups, with age as a number, in 5-year and in 10-year bands.
    singles = ["sex", "age", "age5", "age10", "view", "position", "mortality", "icu"]
    assert [len(feature_columns((name,), "paper")) for name in singles] == [2, 1, 16, 9, 4, 2, 2, 2]
    groups = ["demo", "demo,age5", "demo,age10", "meta", "stay", "demo,meta,stay", "demo,age5,meta,stay"]
    assert [len(feature_columns(parse_ehr(text), "paper")) for text in groups] == [3, 18, 11, 6, 4, 13, 28]


@pytest.mark.parametrize(
    ("age", "five", "ten"),
    [(0, "<20", "<20"), (16, "<20", "<20"), (19, "<20", "<20"), (20, "20-24", "20-29"), (24.9, "20-24", "20-29"),
     (25, "25-29", "20-29"), (29, "25-29", "20-29"), (30, "30-34", "30-39"), (89, "85-89", "80-89"),
     (90, "90+", "90+"), (91, "90+", "90+"), (120, "90+", "90+")],
)  # fmt: skip
def test_an_age_on_an_edge_belongs_to_the_band_that_begins_there(age: float, five: str, ten: str) -> None:
    for name, label in (("age5", five), ("age10", ten)):
        index = band_index(np.array([age, np.nan]), AGE_BANDS[name])
        assert find_feature(name).categories[int(index[0])] == label
        assert np.isnan(index[1])


def test_labels_of_bands_are_computed_from_the_edges() -> None:
    assert band_labels((20, 25, 90)) == ("<20", "20-24", "25-89", "90+")
    for name, edges in AGE_BANDS.items():
        for age in range(130):  # each label contains its ages
            label = find_feature(name).categories[int(band_index(np.array([float(age)]), edges)[0])]
            low, _, high = label.strip("<+").partition("-")
            if label.startswith("<"):
                assert age < int(low)
            else:
                assert int(low) <= age <= int(high or 1000)


def test_every_word_means_one_declared_category_whatever_its_case() -> None:
    rows = {(feature, word): category for feature, word, category in word_rows()}
    for feature, categories in WORDS.items():
        assert find_feature(feature).categories == tuple(categories)
        said = [word.lower() for words in categories.values() for word in words]
        assert len(said) == len(set(said)), feature
        for name, words in categories.items():
            assert {rows[feature, word.lower()] for word in (name, *words)} == {name}
        assert {rows[feature, word] for word in UNKNOWN} == {None}
    # MIMIC-IV from 2.0 on has 33 races, three of them unknown.
    races = [word for words in WORDS["race"].values() for word in words if word != "HISPANIC/LATINO"]
    assert len(races) + len({"WHITE", "ASIAN", "OTHER"}) + 3 == 33


def test_numbers_are_scaled_by_declared_constants() -> None:
    assert scale_numbers(np.array([0.0, 50, 100, 200, -1]), Scale(0, 100)).tolist() == [0, 0.5, 1, 1, 0]
    logs = scale_numbers(np.array([0.0, 9, 99, 500]), Scale(0, 99, is_log=True))
    assert logs.tolist() == pytest.approx([0, 0.5, 1, 1])
    for feature in FEATURES:
        assert (feature.scale is None) == bool(feature.categories), feature.name


def rows(*features: tuple[str, float | None]) -> tuple[np.ndarray, np.ndarray]:
    values = np.full((1, len(FEATURE_NAMES)), np.nan, np.float32)
    for name, value in features:
        values[0, FEATURE_NAMES.index(name)] = np.nan if value is None else value
    return values, ~np.isnan(values)


def test_one_row_becomes_the_paper_columns() -> None:
    values, known = rows(("sex", 1), ("age", 58), ("view", 2), ("position", 0), ("mortality", 1), ("icu", 0))
    encoded = encode_features(values, known, PAPER, "zero")
    columns = dict(zip(feature_columns(PAPER, "zero"), encoded[0].tolist(), strict=True))
    assert columns == {
        "sex=male": 0,
        "sex=female": 1,
        "age": 0.5,
        "view=PA": 0,
        "view=LATERAL": 0,
        "view=AP": 1,
        "view=LL": 0,
        "position=Erect": 1,
        "position=Recumbent": 0,
        "mortality=alive": 0,
        "mortality=died": 1,
        "icu=icu": 1,
        "icu=not_icu": 0,
    }
    assert encoded.dtype == np.float32


def test_unknown_has_zeros_and_with_mask_its_own_columns_at_the_end() -> None:
    values, known = rows(("age", 58))
    assert feature_columns(("sex", "age"), "mask") == ("sex=male", "sex=female", "age", "sex unknown", "age unknown")
    assert encode_features(values, known, ("sex", "age"), "mask").tolist() == [[0, 0, 0.5, 1, 0]]
    assert encode_features(values, known, ("sex", "age"), "zero").tolist() == [[0, 0, 0.5]]
    assert encode_features(values, known, (), "mask").shape == (1, 0)


@pytest.mark.parametrize(("age", "normal"), [(0, 0.0), (16, 0.0), (37, 0.25), (100, 1.0), (117, 1.0)])
def test_age_is_normalised_and_clipped(age: float, normal: float) -> None:
    values, known = rows(("age", age))
    assert encode_features(values, known, ("age",), "zero")[0, 0] == normal


def test_widths_and_columns_agree() -> None:
    assert [find_feature(name).width for name in ("age", "mortality", "icu")] == [1, 2, 2]
    assert len(feature_columns(FEATURE_NAMES, "mask")) == sum(feature.width for feature in FEATURES) + len(FEATURES)


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(UsageError):
        feature_columns(("age",), "guess")  # type: ignore[arg-type]


PUBLISHED = {"AP": 146_879, "PA": 95_885, "LATERAL": 82_598, "LL": 35_082}
OTHER = {"AP": 5, "PA": 60, "LATERAL": 5, "LL": 30}


def draw_films(seed: int, num: int, counts: dict[str, int] = PUBLISHED) -> tuple[np.ndarray, np.ndarray]:
    """Films in the published proportions: 15,757 of 376,201 views and 41,100 positions unknown, few lie down."""
    rng = np.random.default_rng(seed)
    names = list(find_feature("view").categories)
    shares = np.array(list(counts.values())) / sum(counts.values())
    view = rng.choice([names.index(name) for name in counts], num, p=shares)
    position = (rng.random(num) < np.where(view == names.index("AP"), 0.15, 0.005)).astype(float)
    values = np.full((num, len(FEATURES)), np.nan)
    values[:, FEATURE_NAMES.index("view")] = np.where(rng.random(num) < 15_757 / 376_201, np.nan, view)
    values[:, FEATURE_NAMES.index("position")] = np.where(rng.random(num) < 41_100 / 376_201, np.nan, position)
    values[:, FEATURE_NAMES.index("sex")] = np.where(rng.random(num) < 889 / 377_110, np.nan, rng.integers(0, 2, num))
    return values, ~np.isnan(values)


def impute_with_scikit_learn(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """What the fact sheet describes: label codes, IterativeImputer around a random forest, rounded, decoded."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.experimental import enable_iterative_imputer  # noqa: F401
    from sklearn.impute import IterativeImputer

    codes = {name: sorted(find_feature(name).categories) for name in ("view", "position")}
    table = np.full((len(values), 2), np.nan)
    for column, (name, words) in enumerate(codes.items()):
        f = FEATURE_NAMES.index(name)
        rows = np.flatnonzero(known[:, f])
        table[rows, column] = [words.index(find_feature(name).categories[int(k)]) for k in values[rows, f]]
    # The published forest has no seed of its own; the imputer hands it one.
    imputer = IterativeImputer(RandomForestRegressor(), max_iter=10, random_state=24)
    filled = imputer.fit_transform(table).round().astype(int)
    decoded = values[:, [FEATURE_NAMES.index(name) for name in codes]].copy()
    for column, (name, words) in enumerate(codes.items()):
        decoded[:, column] = [find_feature(name).categories.index(words[k]) for k in filled[:, column]]
    return decoded


@pytest.mark.fuzz
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("counts", [PUBLISHED, OTHER], ids=["published", "other"])
def test_paper_imputation_gives_what_scikit_learn_gives(counts: dict[str, int]) -> None:
    for seed in range(scaled(1, 3)):
        values, known = draw_films(seed, scaled(500, 10_000), counts)
        has_sex = known[:, FEATURE_NAMES.index("sex")]
        ours, _ = fill_as_paper(values, known)
        theirs = impute_with_scikit_learn(values[has_sex], known[has_sex])
        for column, name in enumerate(("view", "position")):
            f = FEATURE_NAMES.index(name)
            unknown = ~known[has_sex, f]
            assert np.mean(ours[has_sex, f][unknown] == theirs[unknown, column]) == 1.0, (seed, name)
            assert np.array_equal(ours[has_sex, f][~unknown], values[has_sex, f][~unknown])


def test_paper_imputation_invents_lateral_films_and_people_who_live() -> None:
    """The published defect: a mean of names. No Erect film of unknown view becomes PA or AP."""
    values, known = draw_films(1, 4_000)
    filled, is_known = fill_as_paper(values, known)
    view, position = FEATURE_NAMES.index("view"), FEATURE_NAMES.index("position")
    erect = (filled[:, position] == 0) & ~known[:, view]
    assert {find_feature("view").categories[int(k)] for k in np.unique(filled[erect, view])} <= {"LATERAL", "LL"}
    assert set(filled[~known[:, position], position]) == {0}
    for name, word in (("mortality", "alive"), ("icu", "not_icu")):
        assert set(filled[:, FEATURE_NAMES.index(name)]) == {find_feature(name).categories.index(word)}
        assert is_known[:, FEATURE_NAMES.index(name)].all()
    assert np.isnan(values[~known[:, view], view]).all()  # what was given is not changed


def test_paper_imputation_looks_at_films_with_a_known_sex_only() -> None:
    values, known = draw_films(4, 40)
    position, sex = FEATURE_NAMES.index("position"), FEATURE_NAMES.index("sex")
    values[:, position], known[:, position] = 0, True
    values[:, sex], known[:, sex] = 0, True
    values[:30, position], known[:30, sex] = 1, False  # thirty people of unknown sex lie down
    known[39, position] = False
    filled, _ = fill_as_paper(values, known)
    assert filled[39, position] == 0


def test_paper_policy_has_no_unknown_columns_and_does_not_speak_of_later_features() -> None:
    values, known = rows(("sex", 0), ("view", 1), ("position", 1))
    assert encode_features(values, known, ("sex", "icu"), "paper").tolist() == [[1, 0, 0, 1]]
    with pytest.raises(UsageError, match="what an unknown race becomes"):
        encode_features(values, known, ("sex", "race"), "paper")


def test_paper_imputation_of_a_dataset_without_positions_leaves_them_unknown() -> None:
    values, known = draw_films(2, 200)
    position = FEATURE_NAMES.index("position")
    values[:, position], known[:, position] = np.nan, False
    _, is_known = fill_as_paper(values, known)
    assert is_known[:, FEATURE_NAMES.index("view")].all()
    assert not is_known[:, position].any()


def test_encoding_of_a_film_depends_on_no_other_film_unless_the_paper_is_asked_for() -> None:
    """Nothing is fitted: what stands in val and test rows changes no number of a train row."""
    values, known = draw_films(3, 1000)
    rng = np.random.default_rng(3)
    for f, feature in enumerate(FEATURES):
        if feature.scale is not None:
            values[:, f], known[:, f] = rng.uniform(0, 90, 1000), True
    garbage, is_known = values.copy(), known.copy()
    for f, feature in enumerate(FEATURES):
        draw = rng.integers(0, feature.width, 900) if feature.categories else rng.normal(0, 1e6, 900)
        garbage[100:, f], is_known[100:, f] = draw, rng.random(900) < 0.5
    for missing in ("mask", "zero"):
        before = encode_features(values, known, FEATURE_NAMES, missing)[:100]
        assert before.tobytes() == encode_features(garbage, is_known, FEATURE_NAMES, missing)[:100].tobytes()
    for name in ("sex", "position"):
        garbage[100:, FEATURE_NAMES.index(name)], is_known[100:, FEATURE_NAMES.index(name)] = 1, True
    after = encode_features(garbage, is_known, ("position",), "paper")[:100]
    before = encode_features(values, known, ("position",), "paper")[:100]
    assert before.tobytes() != after.tobytes()


def test_features_and_read_import_neither_polars_nor_duckdb() -> None:
    code = (
        "import sys, cxrssl.cohort.features, cxrssl.cohort.read; sys.exit(bool({'polars','duckdb'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
