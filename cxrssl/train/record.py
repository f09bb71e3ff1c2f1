"""The health record of a run's films, as its objective sees it: what it is given and what it predicts, right or wrong.

In: the features of a cohort. Out: the Record of any step, a function of (seed, step) and the films alone.
Never: a statistic of films that the run is not trained on, or a wrong record that the recipe does not name.

Shape letters: N films of the cohort, R rows of the run, M given columns, P value columns and F features predicted,
L findings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cxrssl.cohort.encoding import AGE, feature_columns
from cxrssl.cohort.features import find_feature
from cxrssl.cohort.read import IGNORE
from cxrssl.core.errors import DataError, UsageError
from cxrssl.core.seed import derive_seed
from cxrssl.core.text import count_noun
from cxrssl.model.record import Predicted, Record, RecordColumns
from cxrssl.recipe.objectives import SupervisedSettings
from cxrssl.train.feed import send
from cxrssl.train.plan import RunPlan

Rows = NDArray[np.int64]
Numbers = NDArray[np.float32]
SHUFFLED = "shuffled"


@dataclass(frozen=True)
class RunRecord:
    """The record of all films of a cohort, row for row."""

    columns: RecordColumns
    given_NM: Numbers
    values_NP: Numbers
    known_NF: Numbers
    unknown_M: Numbers
    """What a film is given of which nothing is known."""
    withheld_N: Numbers
    """1 for films whose record only measures the head's skill."""
    dropout: float
    seed: int
    labels_NL: NDArray[np.int8] | None = None
    """Of an objective that learns labels: 1, 0, and -1 for what it does not learn."""

    def batch(self, rows: Rows, step: int, device: torch.device) -> Record:
        """Return the record of the films of a step on the device."""
        given_BM = values_BP = known_BF = withheld_B = None
        if self.columns.num_given:
            given_BM = self.given_NM[rows]
            if self.dropout:
                draws = np.random.Generator(np.random.Philox(derive_seed(self.seed, step, "record dropout")))
                given_BM[draws.random(len(rows)) < self.dropout] = self.unknown_M
        if self.columns.predicted:
            values_BP, known_BF, withheld_B = self.values_NP[rows], self.known_NF[rows], self.withheld_N[rows]
        labels_BL = None if self.labels_NL is None else self.labels_NL[rows]
        arrays = (given_BM, values_BP, known_BF, withheld_B, labels_BL)
        return Record(*(_send(array, device) for array in arrays))


def load_record(plan: RunPlan) -> RunRecord:
    """Return the record that a run is trained with, its control applied.

    Raises: UsageError when a predicted feature is the same in all training films, or known of none whose record is
    withheld though skill is to be measured on them; or when one person has more than half of the films and the record
    is to be shuffled across persons.
    """
    cohort, ehr, seed = plan.cohort, plan.recipe.ehr, plan.recipe.train.seed
    given_NM = cohort.features(ehr.features, plan.missing)
    values_NP = cohort.features(ehr.predict, "zero")
    at = [cohort.column_of(name) for name in ehr.predict]
    known_NF = cohort.ehr_known[:, at].astype(np.float32)
    kind, _, part = ehr.control.partition(":")
    if kind == SHUFFLED:
        donors_R = draw_donors(plan, seed)
        for array, columns in (
            (given_NM, _columns_of(feature_columns(ehr.features, plan.missing), part)),
            (values_NP, _columns_of(feature_columns(ehr.predict, "zero"), part)),
            (known_NF, _columns_of(ehr.predict, part)),
        ):
            array[np.ix_(plan.rows, columns)] = array[np.ix_(donors_R, columns)]
    elif kind == "zeros":
        given_NM = np.zeros_like(given_NM)
    elif kind == "noise":
        given_NM[plan.rows] = draw_noise(given_NM[plan.rows], seed)
    predicted = _describe_predicted(ehr.predict, values_NP[plan.rows], known_NF[plan.rows])
    unknown_M = np.array([" unknown" in name for name in feature_columns(ehr.features, plan.missing)], np.float32)
    withheld_N, labels_NL = draw_withheld(cohort.subject_id, seed), load_labels(plan)
    if ehr.predict and ehr.predict_gate == "skill":
        _check_measured(ehr.predict, (known_NF * withheld_N[:, None])[plan.rows])
    num_findings = 0 if labels_NL is None else labels_NL.shape[1]
    about = RecordColumns(given_NM.shape[1], predicted, num_findings)
    return RunRecord(about, given_NM, values_NP, known_NF, unknown_M, withheld_N, ehr.dropout, seed, labels_NL)


def load_labels(plan: RunPlan) -> NDArray[np.int8] | None:
    """Return the labels that a run learns, [N, L]: of its own films alone; None for an objective that learns none.

    A finding with one class among these films teaches nothing, and counts as unknown.
    Raises: DataError when no finding has both.
    """
    objective, cohort = plan.recipe.objective, plan.cohort
    if not isinstance(objective, SupervisedSettings):
        return None
    names = plan.finding_names
    found_NL = cohort.labels(names, cast(Any, objective.uncertain), cast(Any, objective.blank))
    labels_NL = np.full_like(found_NL, IGNORE)
    labels_NL[plan.rows] = found_NL[plan.rows]
    has_both_L = (labels_NL == 1).any(axis=0) & (labels_NL == 0).any(axis=0)
    if not has_both_L.any():
        what = f"no finding of cohort {cohort.name} is both present and absent in its training films"
        raise DataError(what, cohort.root, "ingest it with a table of labels, or choose another objective")
    labels_NL[:, ~has_both_L] = IGNORE
    return labels_NL


def draw_withheld(subject_N: NDArray[np.str_], seed: int) -> Numbers:
    """Return 1 for the films of every tenth person in random order, else 0."""
    persons, person_N = np.unique(subject_N, return_inverse=True)
    draws = np.random.Generator(np.random.Philox(derive_seed(seed, 0, "withheld record")))
    return np.asarray(draws.permutation(len(persons))[person_N] % 10 == 0, np.float32)


def draw_donors(plan: RunPlan, seed: int) -> Rows:
    """Return for each row of the run another one, of another person in the same split; each row is taken once."""
    subject_R, split_R = plan.cohort.subject_id[plan.rows], plan.cohort.split_of(plan.scheme)[plan.rows]
    donors_R = np.empty_like(plan.rows)
    draws = np.random.Generator(np.random.Philox(derive_seed(seed, 0, "record control")))
    for split in np.unique(split_R):
        (here,) = np.nonzero(split_R == split)
        _, person = np.unique(subject_R[here], return_inverse=True)
        most = int(np.bincount(person).max())
        if 2 * most > len(here):
            what = f"one person has {most} of {count_noun(len(here), 'film')}: no other records to give them all"
            raise UsageError(what, hint="a shuffled record needs films of more persons")
        # Persons in random order, their films side by side: moved by the largest number of films of a person, no place
        # meets its own person, and every record is given once.
        order = np.lexsort((draws.permutation(len(here)), draws.permutation(person.max() + 1)[person]))
        donors_R[here[order]] = plan.rows[here[np.roll(order, -most)]]
    return donors_R


def draw_noise(values_RM: Numbers, seed: int) -> Numbers:
    """Return normal numbers with each column's mean and standard deviation."""
    draws = np.random.Generator(np.random.Philox(derive_seed(seed, 0, "record control")))
    noise = draws.standard_normal(values_RM.shape) * values_RM.std(axis=0) + values_RM.mean(axis=0)
    return np.asarray(noise, np.float32)


def _describe_predicted(names: Sequence[str], values_RP: Numbers, known_RF: Numbers) -> tuple[Predicted, ...]:
    """Return the predicted features with the loss of the best constant guess on these rows."""
    described, first = [], 0
    for f, name in enumerate(names):
        width = find_feature(name).width
        values = values_RP[known_RF[:, f] > 0, first : first + width].astype(np.float64)
        if len(np.unique(values, axis=0)) < 2:
            what = (
                f'"{name}" cannot be predicted: it is {"the same" if len(values) else "unknown"} in all training films'
            )
            raise UsageError(what, hint="leave it out of --predict")
        shares = values.mean(axis=0)
        scale = -(shares[shares > 0] * np.log(shares[shares > 0])).sum() if width > 1 else values.var()
        described.append(Predicted(name, first, width, float(scale)))
        first += width
    return tuple(described)


def _check_measured(names: Sequence[str], withheld_RF: Numbers) -> None:
    unmeasured = [name for name, withheld_R in zip(names, withheld_RF.T, strict=True) if not withheld_R.any()]
    if unmeasured:
        what = f"the skill of {', '.join(unmeasured)} cannot be measured: no film of a withheld person has it"
        raise UsageError(what, hint="ehr.predict_gate=skill needs more persons, or another train.seed")


def _columns_of(columns: Sequence[str], part: str) -> Rows:
    """Return the columns of a feature or group; of all of them when none is named."""
    names = [column.split("=")[0].removesuffix(" unknown").removesuffix(AGE) for column in columns]
    return np.array([k for k, name in enumerate(names) if _is_of(name, part)], np.int64)


def _is_of(name: str, part: str) -> bool:
    return not part or part in (name, find_feature(name).group)


def _send(array: Numbers | NDArray[np.int8] | None, device: torch.device) -> Tensor | None:
    return None if array is None else send(torch.from_numpy(array), device)
