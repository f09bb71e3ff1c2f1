"""Opening a published cohort as arrays. Stdlib and numpy only: training imports this without polars and duckdb.

In: the folder of a cohort. Out: a Cohort whose rows are films. Never: a subject in two splits of one scheme.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from cxrssl.cohort.again import hint_feature, naming_ingest
from cxrssl.cohort.arrays import Films, Text, load_arrays
from cxrssl.cohort.encoding import Missing, encode_features, feature_columns
from cxrssl.cohort.feature import Feature
from cxrssl.cohort.features import FEATURE_NAMES, declare, find_feature, is_feature
from cxrssl.core.artefact import Artefact, open_artefact, read_unexchanged
from cxrssl.core.errors import IntegrityError, LeakageError, UsageError
from cxrssl.core.text import count_noun, nearest_hint, plain

KIND = "cohort"
SPLITS = ("train", "val", "test")
SCHEMES = ("official", "hash", "icu", "file")
UNCERTAIN, BLANK, ABSENT, IGNORE = -1, -2, -3, -1
"""Labels that are neither 1 nor 0; ABSENT, of pooled cohorts, where a cohort has no column of the finding."""
UNCERTAIN_POLICIES = {"ignore": IGNORE, "zeros": 0, "ones": 1}
BLANK_POLICIES = {"ignore": IGNORE, "zeros": 0}


@dataclass(frozen=True, eq=False)
class Cohort(Films):
    """An open cohort."""

    name: str
    dataset: str
    folder: Path
    root: Path
    """Folder of the films when the cohort was made."""
    default_split: str
    link: str
    """How films were linked to stays, in words; empty where the dataset has none."""
    summary: dict[str, Any]
    artefact: Artefact
    """What its folder held when it was opened."""

    def __len__(self) -> int:
        return len(self.image_id)

    @property
    def source(self) -> str:
        """The word of `cxrssl ingest` that makes it; of a folder with a collection of its own not its dataset."""
        return str(self.artefact.settings.get("source", self.dataset))

    @property
    def title(self) -> str:
        """Name and link rule of the cohort, for every line that names it."""
        return f"{self.name}, {self.link}" if self.link else self.name

    @property
    def schemes(self) -> tuple[str, ...]:
        """Split schemes that this cohort has."""
        return tuple(scheme for scheme in SCHEMES if np.any(self._split(scheme) != ""))

    def split_of(self, scheme: str = "") -> Text:
        """Return the split of each film under `scheme`; an empty name means the default one.

        Raises: UsageError when the cohort has no such scheme.
        """
        scheme = scheme or self.default_split
        if scheme not in self.schemes:
            what = f'cohort "{self.name}" has no split "{plain(scheme, 40)}"'
            raise UsageError(what, self.folder, nearest_hint(scheme, self.schemes))
        return self._split(scheme)

    def rows_of(self, split: str, scheme: str = "") -> npt.NDArray[np.int64]:
        """Return the rows of one or several splits, such as "train" or "train|val", in film order."""
        wanted = split.split("|")
        for name in wanted:
            if name not in SPLITS:
                raise UsageError(f'there is no split "{plain(name, 40)}"', hint=nearest_hint(name, SPLITS))
        return np.flatnonzero(np.isin(self.split_of(scheme), wanted)).astype(np.int64)

    def features(self, names: Sequence[str], missing: Missing = "mask") -> npt.NDArray[np.float32]:
        """Return the encoded health record [N, M]; see `encoding.encode_features`."""
        for name in names:
            self.column_of(name)
        return encode_features(self.ehr_values, self.ehr_known, names, missing, self.names, self.ehr_age_h)

    @property
    def names(self) -> tuple[str, ...]:
        """The features that it has columns of."""
        return tuple(self.feature_names.tolist())

    @property
    def measured(self) -> tuple[Feature, ...]:
        """The features that it has beside FEATURES."""
        return tuple(find_feature(name) for name in self.names[len(FEATURE_NAMES) :])

    def column_of(self, name: str) -> int:
        """Return the column of a feature in `ehr_values` and `ehr_known`.

        Raises: UsageError when the cohort was made without it.
        """
        feature = find_feature(name)
        if name not in self.names:
            what = f'cohort "{self.name}" was made without "{name}"'
            raise UsageError(what, self.folder, hint_feature(self.source, self.name, feature.group))
        return self.names.index(name)

    def feature_columns(self, names: Sequence[str], missing: Missing = "mask") -> tuple[str, ...]:
        """Return the names of the columns of `features`."""
        return feature_columns(names, missing)

    def labels(
        self,
        findings: Sequence[str],
        uncertain: Literal["ignore", "zeros", "ones"] = "ignore",
        blank: Literal["zeros", "ignore"] = "zeros",
        uncertain_by: Sequence[str] = (),
    ) -> npt.NDArray[np.int8]:
        """Return [N, L] in {1, 0, -1} after the named policies; -1 is not scored.

        `uncertain_by` are policies of single findings, as "Edema=ones".
        """
        names = self.finding_names.tolist()
        for finding in findings:
            if finding not in names:
                raise UsageError(f'there is no finding "{plain(finding, 60)}"', hint=nearest_hint(finding, names))
        own = dict(each.rsplit("=", 1) for each in uncertain_by)
        policies: list[tuple[str, dict[str, int]]] = [(blank, BLANK_POLICIES)]
        policies += [(each, UNCERTAIN_POLICIES) for each in (uncertain, *own.values())]
        for policy, known in policies:
            if policy not in known:
                raise UsageError(f'unknown label policy "{plain(policy, 40)}"', hint=nearest_hint(policy, known))
        values = self.label_values[:, [names.index(finding) for finding in findings]]
        means_L = np.array([UNCERTAIN_POLICIES[own.get(finding, uncertain)] for finding in findings], np.int8)
        chosen = np.where(values == UNCERTAIN, means_L, values)
        chosen = np.where(values == BLANK, BLANK_POLICIES[blank], chosen)
        return np.where(values == ABSENT, IGNORE, chosen).astype(np.int8)

    @cached_property
    def content_sha256(self) -> str:
        """A SHA-256 over all arrays: equal cohorts have equal hashes, wherever and whenever they were made."""
        digest = hashlib.sha256()
        for each in fields(Films):
            array = getattr(self, each.name)
            if array is None:  # left out, as before there were ages
                continue
            digest.update(f"{each.name} {array.dtype.str} {array.shape}\n".encode())
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def _split(self, scheme: str) -> Text:
        split: Text = getattr(self, f"split_{scheme}")
        return split


def open_cohort(path: Path, verify: bool = True, check: bool = True) -> Cohort:
    """Return the cohort in the folder `path`, its hashes checked if `verify`.

    Without `check`, a subject in two splits is accepted: the audit reports it itself.

    Raises: IntegrityError when a file is missing or damaged, LeakageError when a subject is in two splits.
    """
    with naming_ingest(path):
        return read_unexchanged(path, lambda: _open_cohort(path, verify, check))


def open_tables(path: Path) -> Artefact:
    """Return the published cohort in the folder `path` before a reader opens its cohort.duckdb.

    Its hash is checked first: a database whose blocks were exchanged is read by DuckDB without an error.

    Raises: IntegrityError when a file is missing or damaged.
    """
    with naming_ingest(path):
        return open_artefact(path, KIND)


def _open_cohort(path: Path, verify: bool, check: bool) -> Cohort:
    artefact = open_artefact(path, KIND, verify)
    settings = artefact.settings
    declare(settings.get("declared"), path, path.absolute())
    arrays = load_arrays(path / "films.npz")
    names = arrays["feature_names"].tolist()
    if tuple(names[: len(FEATURE_NAMES)]) != FEATURE_NAMES or not all(map(is_feature, names)):
        raise IntegrityError("films.npz has other features than this version", path)
    cohort = Cohort(
        **arrays,
        name=settings["name"],
        dataset=settings["dataset"],
        folder=path,
        root=Path(artefact.manifest["inputs"]["root"]),
        default_split=settings["default_split"],
        link=settings["link"],
        summary=json.loads((path / "summary.json").read_text(encoding="utf-8")),
        artefact=artefact,
    )
    for scheme in cohort.schemes if check else ():
        check_splits(cohort.subject_id, cohort._split(scheme), scheme)
    return cohort


def check_splits(subject_id: Text, split: Text, scheme: str) -> None:
    """Raise LeakageError if a subject has films in two splits."""
    first: dict[str, str] = {}
    shared = set()
    for subject, part in zip(subject_id.tolist(), split.tolist(), strict=True):
        if first.setdefault(subject, part) != part:
            shared.add(subject)
    if shared:
        what = f'{count_noun(len(shared), "subject")} of {len(first):,} in two splits of "{scheme}"'
        raise LeakageError(what, hint="the cohort was changed after it was made: run cxrssl ingest again")
