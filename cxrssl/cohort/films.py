"""The flat forms of a cohort: one row a film, in a fixed order, as Parquet for people and as plain arrays for training.

In: a cohort database. Out: films.parquet, films.npz, whose row order is (subject_id, study_id, image_id).
Never: pickled objects, or an order that depends on the order of the source rows.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from cxrssl.cohort.encoding import band_index
from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import FEATURES
from cxrssl.cohort.read import BLANK
from cxrssl.core.durable import write_bytes
from cxrssl.db import Database

ORDER = ("subject_id", "study_id", "image_id")
TEXT_ARRAYS = (
    "image_id",
    "study_id",
    "subject_id",
    "path",
    "view",
    "position",
    "link_status",
    "hadm_id",
    "stay_id",
    "split_official",
    "split_hash",
    "split_icu",
    "split_file",
)


def collect_films(database: Database, findings: Sequence[str]) -> pl.DataFrame:
    """Return one row a film in the canonical order, with one column a finding (null: blank)."""
    films = database.query("SELECT * FROM film").sort(ORDER)
    pairs = database.query("SELECT study_id, finding, value FROM label WHERE study_id IN (SELECT study_id FROM image)")
    wide = pairs.pivot("finding", index="study_id", values="value", aggregate_function=None)
    absent = [pl.lit(None, pl.Int8).alias(name) for name in findings if name not in wide.columns]
    wide = wide.with_columns(absent).select("study_id", *findings)
    return films.join(wide, "study_id", "left", maintain_order="left")


def make_arrays(
    films: pl.DataFrame, findings: Sequence[str], measured: Sequence[Feature] = ()
) -> dict[str, npt.NDArray[Any]]:
    """Return the arrays of films.npz; `measured` are the features that the cohort has beside FEATURES.

    Shapes: all [N] but ehr_values and ehr_known [N, F], label_values [N, L], feature_names [F], finding_names [L], and
    ehr_age_h [N, A] where A of the features have values with an age.
    Units: gap_h and ehr_age_h hours; age in years; -2 in label_values is blank, -1 uncertain.
    """
    features = (*FEATURES, *measured)
    arrays: dict[str, npt.NDArray[Any]] = {name: _text_array(films[name]) for name in TEXT_ARRAYS}
    arrays["taken_at"] = _text_array(films["taken_at"].dt.to_string("%Y-%m-%dT%H:%M:%S%.3f"))
    arrays["gap_h"] = films["gap_h"].cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float32)
    arrays["age_is_censored"] = films["age_is_censored"].to_numpy().astype(np.bool_)
    values = np.stack([_feature_array(films, feature) for feature in features], axis=1)
    arrays["feature_names"] = np.array([feature.name for feature in features], dtype=np.str_)
    arrays["ehr_values"] = values
    arrays["ehr_known"] = ~np.isnan(values)
    ages = [_numbers(films[feature.age_column]) for feature in measured if feature.has_age]
    if ages:
        arrays["ehr_age_h"] = np.stack(ages, axis=1)
    arrays["finding_names"] = np.array(list(findings), dtype=np.str_)
    labels = films.select(pl.col(name).cast(pl.Int8).fill_null(BLANK) for name in findings)
    # A frame without columns has no rows; the array of a dataset without findings has N.
    values_NL = labels.to_numpy().reshape(films.height, len(findings))
    arrays["label_values"] = np.ascontiguousarray(values_NL, dtype=np.int8)
    return arrays


def write_films(folder: Path, films: pl.DataFrame, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write films.parquet and films.npz into `folder`."""
    # Through memory, because `write_bytes` reports a full disk as our error and Polars does not.
    parquet, archive = io.BytesIO(), io.BytesIO()
    films.write_parquet(parquet)
    np.savez(archive, allow_pickle=False, **{name: _encode(array) for name, array in arrays.items()})
    write_bytes(folder / "films.parquet", parquet.getbuffer())
    write_bytes(folder / "films.npz", archive.getbuffer())


def _text_array(series: pl.Series) -> npt.NDArray[np.str_]:
    return np.array(series.fill_null("").to_list(), dtype=np.str_)


def _encode(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return text as UTF-8 bytes, a quarter of the size of numpy's own; other arrays as they are."""
    if array.dtype.kind != "U":
        return array
    try:
        return array.astype(np.bytes_)  # the fast way, ASCII only
    except UnicodeEncodeError:
        return np.char.encode(array, "utf-8")


def _feature_array(films: pl.DataFrame, feature: Feature) -> npt.NDArray[np.float32]:
    """Return the category index or the number; NaN is unknown."""
    column = films[feature.column]
    if feature.edges:
        age_y = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
        return band_index(age_y, feature.edges).astype(np.float32)
    if feature.categories:
        indices = {category: index for index, category in enumerate(feature.categories)}
        column = column.replace_strict(indices, return_dtype=pl.Float32)
    return _numbers(column)


def _numbers(column: pl.Series) -> npt.NDArray[np.float32]:
    return column.cast(pl.Float32).fill_null(float("nan")).to_numpy().astype(np.float32)
