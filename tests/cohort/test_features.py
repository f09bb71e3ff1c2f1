"""The declared features: parsing, roles, encoding."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from cxrssl.cohort.features import (
    FEATURE_NAMES,
    encode_features,
    feature_columns,
    feature_widths,
    find_feature,
    is_outcome_used,
    parse_ehr,
)
from cxrssl.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("demo", ("sex", "age")),
        ("demo,meta,stay", FEATURE_NAMES),
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


@pytest.mark.parametrize("text", ["", " , ", "none,demo"])
def test_nothing_and_contradiction_are_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_ehr(text)


def test_only_mortality_is_an_outcome_and_known_after() -> None:
    assert [name for name in FEATURE_NAMES if is_outcome_used([name])] == ["mortality"]
    assert [name for name in FEATURE_NAMES if find_feature(name).known == "after"] == ["mortality"]
    assert is_outcome_used(parse_ehr("stay"))
    assert not is_outcome_used(parse_ehr("demo,meta,icu"))


def rows(*features: tuple[str, float | None]) -> tuple[np.ndarray, np.ndarray]:
    values = np.full((1, len(FEATURE_NAMES)), np.nan, np.float32)
    for name, value in features:
        values[0, FEATURE_NAMES.index(name)] = np.nan if value is None else value
    return values, ~np.isnan(values)


def test_one_row_becomes_the_paper_columns() -> None:
    values, known = rows(("sex", 1), ("age", 58), ("view", 2), ("position", 0), ("mortality", 1), ("icu", 0))
    encoded = encode_features(values, known, FEATURE_NAMES, "zero")
    columns = dict(zip(feature_columns(FEATURE_NAMES, "zero"), encoded[0].tolist(), strict=True))
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
    assert feature_widths(parse_ehr("stay,age")) == {"age": 1, "mortality": 2, "icu": 2}
    assert len(feature_columns(FEATURE_NAMES, "mask")) == sum(feature_widths(FEATURE_NAMES).values()) + 6


def test_unknown_policy_is_refused() -> None:
    with pytest.raises(UsageError):
        feature_columns(("age",), "guess")  # type: ignore[arg-type]


def test_features_and_read_import_neither_polars_nor_duckdb() -> None:
    code = (
        "import sys, cxrssl.cohort.features, cxrssl.cohort.read; sys.exit(bool({'polars','duckdb'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
