"""How well a model ranks the films of a test set, with intervals, and by how much it does so better than another.

In: scores, labels and subject_ids of every row of a test set. Out: Scores or Comparison, of Intervals.
Never: a test row dropped without being counted.

Suffix letters: N films, L findings, R resamples, T the two metrics (AUROC, average precision).
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from cxrssl.core.text import plain
from cxrssl.stats.bca import METRICS, choose_interval
from cxrssl.stats.delong import check_findings
from cxrssl.stats.measure import Folds, Measured, lower_quartile, measure_resamples
from cxrssl.stats.metrics import Floats
from cxrssl.stats.resample import BCA, BCA_BELOW, CENTRED, PERCENTILE, Interval, count_subjects


@dataclasses.dataclass(frozen=True)
class FindingScore:
    """AUROC and average precision of one finding (of one model in Scores, a - b in Comparison)."""

    auroc: Interval
    auprc: Interval
    num_scored: int
    num_ignored: int
    """Rows with label -1; num_scored + num_ignored is the number of test rows."""
    num_pos: int
    num_pos_subjects: int | None = None
    """Subjects with a film that has the finding; None where that was not recorded."""
    num_neg_subjects: int | None = None
    """Subjects with a film that does not."""
    delong: Interval | None = None
    """AUROC with its interval from placement values; None with folds, and where that was not recorded."""

    @property
    def is_defined(self) -> bool:
        """Whether the scored rows hold both classes; if not, neither metric is given."""
        return 0 < self.num_pos < self.num_scored

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None; `delong` is left out where there is none."""
        return {
            "auroc": self.auroc.to_dict(),
            "auprc": self.auprc.to_dict(),
            "num_scored": self.num_scored,
            "num_ignored": self.num_ignored,
            "num_pos": self.num_pos,
            "num_pos_subjects": self.num_pos_subjects,
            "num_neg_subjects": self.num_neg_subjects,
            "is_defined": self.is_defined,
            **({} if self.delong is None else {"delong": self.delong.to_dict()}),
        }

    def counted(self, num_pos_subjects: int, num_neg_subjects: int, num_resamples: int) -> "FindingScore":
        """Return it with the subjects that it rests on; see `Interval.counted`."""
        rarer = min(num_pos_subjects, num_neg_subjects)
        return dataclasses.replace(
            self,
            auroc=self.auroc.counted(rarer, num_resamples),
            auprc=self.auprc.counted(rarer, num_resamples),
            num_pos_subjects=num_pos_subjects,
            num_neg_subjects=num_neg_subjects,
        )


@dataclasses.dataclass(frozen=True)
class _Table:
    findings: dict[str, FindingScore]
    """In the order given."""
    macro_auroc: Interval
    """Mean over the findings defined on the full test set; in a resample, over those of them defined in it."""
    macro_auprc: Interval
    """The same mean of average precisions."""
    num_films: int
    num_subjects: int
    num_resamples: int
    level: float
    """Of the intervals."""
    seed: int

    @property
    def is_counted(self) -> bool:
        """Whether it says on how many subjects each number rests; older versions did not record it."""
        return all(score.num_pos_subjects is not None for score in self.findings.values())

    @property
    def intervals(self) -> list[Interval]:
        """Every number of the table."""
        findings = [each for score in self.findings.values() for each in (score.auroc, score.auprc)]
        return [self.macro_auroc, self.macro_auprc, *findings]

    @property
    def check_note(self) -> str:
        """How far the ends of DeLong's intervals are from these at most, in a sentence; empty where none are."""
        gaps = {
            name: max(abs(score.delong.lo - score.auroc.lo), abs(score.delong.hi - score.auroc.hi))
            for name, score in self.findings.items()
            if score.delong and score.delong.has_interval and score.auroc.has_interval and not score.auroc.is_few
        }
        if not gaps:
            return ""
        worst, gap = max(gaps.items(), key=lambda each: each[1])
        by = "DeLong" if self.num_films == self.num_subjects else "DeLong, by subject (Obuchowski)"
        return f"Intervals of AUROC by {by} end within {gap:.3f} of these ({plain(worst, 60)})."

    @property
    def method(self) -> str:
        """How the intervals were made, in words."""
        made = {each.method for each in self.intervals}
        parts = [
            *(["AUPRC centred"] if CENTRED in made else []),
            *([f"BCa below {BCA_BELOW} with or without it"] if BCA in made else []),
        ]
        return self._describe(PERCENTILE, f" ({'; '.join(parts)})" if parts else "")

    def method_of(self, interval: Interval) -> str:
        """How one of the intervals was made, in words; empty for a number without one."""
        return self._describe(interval.method) if interval.has_interval else ""

    def _describe(self, method: str, exception: str = "") -> str:
        resamples = f"{self.num_resamples:,} resamples, seed {self.seed}"
        return f"{self.level:.0%} {method} bootstrap over subjects{exception}, {resamples}"

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        own["findings"] = {finding: score.to_dict() for finding, score in self.findings.items()}
        own["macro_auroc"] = self.macro_auroc.to_dict()
        own["macro_auprc"] = self.macro_auprc.to_dict()
        return own


@dataclasses.dataclass(frozen=True)
class Scores(_Table):
    """How well one model ranks the films, for each finding and on average."""


@dataclasses.dataclass(frozen=True)
class Comparison(_Table):
    """By how much model a ranks better than model b: every Interval is of a - b on the same resamples."""

    def without_intervals(self) -> "Comparison":
        """Return the values alone."""
        findings = {
            name: dataclasses.replace(score, auroc=score.auroc.without_interval(), auprc=score.auprc.without_interval())
            for name, score in self.findings.items()
        }
        macro_auroc, macro_auprc = self.macro_auroc.without_interval(), self.macro_auprc.without_interval()
        return dataclasses.replace(self, findings=findings, macro_auroc=macro_auroc, macro_auprc=macro_auprc)


def score_predictions(
    probs_NL: npt.ArrayLike,
    labels_NL: npt.ArrayLike,
    subject_ids_N: npt.NDArray[Any],
    findings: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    level: float = 0.95,
    fold_N: Folds | None = None,
) -> Scores:
    """AUROC and average precision of each finding and their macro means, with intervals; labels 1, 0, -1 = not scored.

    With folds a film is ranked among those of its fold: AUROC is the mean over folds by their pairs of a film with the
    finding and one without, average precision that by their films with it.

    Shapes: [N, L], [N, L], [N], [N].
    Differs: the published code resamples films and drops up to a batch of test rows (paper.md 4d, 44, 47, 48); here
        subjects are resampled, every row counts, and a resample without both classes counts as not defined.
    Raises: DataError if a score is not finite or a subject_id is missing.
    """
    measured = measure_resamples(probs_NL, labels_NL, subject_ids_N, findings, num_resamples, seed, fold_N)
    measured = measured.without_each(probs_NL, subject_ids_N, fold_N, BCA_BELOW)
    checks = check_findings([probs_NL], measured.labels_NL, subject_ids_N, fold_N, level)
    return Scores(**_tabulate(measured, subject_ids_N, findings, checks, level), seed=seed)


def compare_predictions(
    probs_a_NL: npt.ArrayLike,
    probs_b_NL: npt.ArrayLike,
    labels_NL: npt.ArrayLike,
    subject_ids_N: npt.NDArray[Any],
    findings: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    fold_N: Folds | None = None,
) -> Comparison:
    """Differences a - b of each metric of two models on the same films, with intervals from the same resamples.

    Shapes: [N, L], [N, L], [N, L], [N], [N].
    Raises: DataError if a score is not finite or a subject_id is missing.
    """
    how = labels_NL, subject_ids_N, findings, num_resamples, seed, fold_N
    a, b = measure_resamples(probs_a_NL, *how, "model a"), measure_resamples(probs_b_NL, *how, "model b")
    checks = check_findings([probs_a_NL, probs_b_NL], a.labels_NL, subject_ids_N, fold_N)
    return Comparison(**_tabulate(a.minus(b), subject_ids_N, findings, checks), seed=seed)


def resample_metrics(
    probs_NL: npt.ArrayLike,
    labels_NL: npt.ArrayLike,
    subject_ids_N: npt.NDArray[Any],
    findings: Sequence[str],
    *,
    num_resamples: int = 1000,
    seed: int = 0,
    fold_N: Folds | None = None,
) -> tuple[Floats, Floats]:
    """AUROC and average precision on the full set [2, 1 + L] and in each resample [2, 1 + L, R], the macro mean first.

    The numbers that the intervals of `score_predictions` with the same arguments are made of.

    Shapes: [N, L], [N, L], [N], [N].
    Raises: DataError if a score is not finite or a subject_id is missing.
    """
    measured = measure_resamples(probs_NL, labels_NL, subject_ids_N, findings, num_resamples, seed, fold_N).with_mean()
    return measured.values_TL, measured.samples_TLR


def _tabulate(
    measured: Measured,
    subject_ids_N: npt.NDArray[Any],
    findings: Sequence[str],
    checks: Sequence[Interval | None],
    level: float = 0.95,
) -> dict[str, Any]:
    """The fields that Scores and Comparison share."""
    labels_NL, table = measured.labels_NL, measured.with_mean()

    def conclude(row: int, rarer: int) -> tuple[Interval, Interval]:
        """Both metrics of a row of the table, of which the first is the mean."""
        without_TS = [None, None] if table.without_TLS is None else table.without_TLS[:, row]
        numbers = zip(METRICS, table.values_TL[:, row].tolist(), table.samples_TLR[:, row], without_TS, strict=True)
        auroc, auprc = (choose_interval(*number, rarer, level, table.is_difference) for number in numbers)
        return auroc, auprc

    rows: dict[str, FindingScore] = {}
    pos_L, neg_L = count_subjects(labels_NL, subject_ids_N)
    for column, finding in enumerate(findings):
        labels_N = labels_NL[:, column]
        auroc, auprc = conclude(column + 1, int(min(pos_L[column], neg_L[column])))
        rows[finding] = FindingScore(
            auroc=auroc,
            auprc=auprc,
            num_scored=int((labels_N >= 0).sum()),
            num_ignored=int((labels_N == -1).sum()),
            num_pos=int((labels_N == 1).sum()),
            num_pos_subjects=int(pos_L[column]),
            num_neg_subjects=int(neg_L[column]),
            delong=checks[column],
        )
        assert rows[finding].num_scored + rows[finding].num_ignored == len(labels_NL), f"{finding}: a row is lost"
    macro_auroc, macro_auprc = conclude(0, rarer_of_mean(rows))
    return {
        "findings": rows,
        "macro_auroc": macro_auroc,
        "macro_auprc": macro_auprc,
        "num_films": len(labels_NL),
        "num_subjects": len(np.unique(subject_ids_N)),
        "num_resamples": measured.samples_TLR.shape[2],
        "level": level,
    }


def rarer_of_mean(findings: Mapping[str, FindingScore]) -> int:
    """The subjects that a mean over findings rests on: of the rarer class, the lower quartile over the defined ones.

    A mean is marked, then, when a fourth of its findings is: from there on its interval is as much too narrow.
    """
    return lower_quartile([score.auroc.num_rarer or 0 for score in findings.values() if score.is_defined])
