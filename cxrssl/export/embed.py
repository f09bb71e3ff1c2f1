"""The frozen features of a cohort as one table: Parquet or npz, a row a film.

In: a workspace, a run, a cohort. Out: a file, and a JSON file beside it that says what it holds. Never: an id of the
dataset where the user did not ask for it, or a film that is not packed.
"""

from __future__ import annotations

import io
import json
import tempfile
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.core.durable import renamed_os_errors, write_bytes
from cxrssl.core.errors import SetupError, UsageError
from cxrssl.core.place import check_place
from cxrssl.core.text import plain, shell_word
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.attention import extract_attention
from cxrssl.evaluate.candidate import open_run
from cxrssl.evaluate.encode import PRECISION
from cxrssl.evaluate.features import extract_features
from cxrssl.export.ids import Ids, name_all
from cxrssl.export.lineage import find_dataset
from cxrssl.export.terms import Terms, find_terms
from cxrssl.records.encoder import EncoderName
from cxrssl.train.device import choose_devices
from cxrssl.train.pooled import open_films

SUFFIXES = (".parquet", ".npz")


@dataclass(frozen=True)
class EmbedChoices:
    """What is written, and where."""

    cohort: str = ""
    """Empty for the run's own."""
    encoder: EncoderName = "target"
    out: Path | None = None
    ids: Ids = "pseudonyms"
    device: str = "auto"
    may_replace: bool = False
    has_attention: bool = False
    """Whether the attention to each patch is published too, in the workspace."""
    num_gpus: int = 1
    """Devices that share the films."""


@dataclass(frozen=True)
class Embedded:
    """What `embed_cohort` returns."""

    path: Path
    num_films: int
    width: int
    num_not_packed: int
    """Films of the cohort that could not be decoded; they have no row."""
    terms: tuple[Terms, ...]
    """Of the run's dataset and of the cohort's, the strictest first."""


def embed_cohort(workspace: Workspace, run: str, choices: EmbedChoices) -> Embedded:
    """Write image_id, subject_id, split and the features of every packed film of a cohort, in the cohort's order.

    Shapes: npz holds image_id, subject_id, split [N] and features float32 [N, width]; Parquet has a column a feature.
    Raises: UsageError for a wrong place or ending, SetupError for Parquet without DuckDB, DataError when the run is not
        finished or the films are not packed.
    """
    if choices.out is not None and choices.out.suffix not in SUFFIXES:
        what = f'the ending of the file says its format, and "{plain(choices.out.suffix, 20)}" is none'
        raise UsageError(what, choices.out, f"--out {shell_word(choices.out.with_suffix('.parquet'))}, or .npz")
    if choices.out is not None and choices.out.suffix == ".parquet" and find_spec("duckdb") is None:
        hint = f"--out {shell_word(choices.out.with_suffix('.npz'))}, which needs nothing more"
        raise SetupError("DuckDB, which writes Parquet, is not installed here", choices.out, hint)
    run_id, encoder = open_run(workspace, run, choices.encoder)
    cohort, images = open_films(workspace, choices.cohort or encoder.origin.one_cohort())
    which = "" if choices.encoder == "target" else f"-{choices.encoder}"
    dest = (choices.out or workspace.exports / f"{run_id}{which}-on-{cohort.name}.npz").absolute()
    check_place(workspace, dest, cohort.root)
    if dest.exists() and not choices.may_replace:
        raise UsageError("the file is there already", dest, "replace it with --force, or use another --out")
    devices = choose_devices(choices.device, choices.num_gpus)
    if choices.has_attention:
        extract_attention(workspace, encoder, images, devices)
    values = extract_features(workspace, encoder, images, devices)
    rows = np.flatnonzero(images.is_packed_N)
    own = cohort.image_id[rows], cohort.subject_id[rows]
    named = own if choices.ids == "dataset" else name_all(cohort, *own)
    terms = find_terms([*(each.dataset for each in encoder.origin.cohorts), find_dataset(cohort)])
    ids = {"image_id": named[0], "subject_id": named[1], "split": cohort.split_of()[rows].astype(np.str_)}
    about = {
        "run_id": run_id,
        "encoder": choices.encoder,
        "weights_sha256": encoder.weights_sha256,
        "cohort": cohort.name,
        "cohort_sha256": cohort.content_sha256,
        "images_sha256": images.content_sha256,
        "split": cohort.default_split,
        "ids": choices.ids,
        "precision": PRECISION,
        "films": len(rows),
        "width": values.shape[1],
        "terms": {each.dataset: f"{each.verdict}: {each.sentence}" for each in terms},
    }
    with renamed_os_errors(dest):
        dest.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(dest, _pack(dest.suffix, ids, values[rows]))
    write_bytes(dest.with_name(f"{dest.name}.json"), json.dumps(about, indent=1).encode())
    return Embedded(dest, len(rows), values.shape[1], len(cohort) - len(rows), tuple(terms))


def _pack(suffix: str, ids: dict[str, NDArray[Any]], values: NDArray[np.float32]) -> bytes:
    """Return the bytes of the file."""
    if suffix == ".npz":
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **ids, features=values)
        return buffer.getvalue()
    from cxrssl.db import write_columns  # npz needs no polars

    columns = {f"feature_{number}": np.ascontiguousarray(column) for number, column in enumerate(values.T)}
    with tempfile.TemporaryDirectory(prefix="cxrssl-") as folder:
        write_columns({**ids, **columns}, Path(folder) / "features.parquet")
        return (Path(folder) / "features.parquet").read_bytes()
