"""scores.json of an evaluation: how well a candidate ranks the test films, and what had no part in it.

In: scores, what was left out, how the strength was chosen. Out: EvalScores, ready for JSON.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from cxrssl.core.text import count_noun, plain
from cxrssl.records.arrays import Predictions
from cxrssl.stats.matched import Matched
from cxrssl.stats.resample import FEW_SUBJECTS, Interval, count_subjects
from cxrssl.stats.scores import Scores, rarer_of_mean

ALL = "all"
TUNED = "fine-tuned"
"""Where a head reads an encoder that was fine-tuned with it."""
FOLD = "fold "
"""Begins the names of strengths where each fold has its own."""
FEATURES_ON_RECORD = "features on record"
WRITTEN_IF_ANY = (
    "num_left_out", "num_train_subjects", "train_pos_subjects", "is_matched", "matched_on", "matched", "macro_matched",
    "head", "selected_on", "num_dropped", "over_draws",
)  # fmt: skip


@dataclass(frozen=True)
class Decoding:
    """How well one thing is decoded by a linear model on the scored films."""

    metric: str
    """AUROC, macro AUROC (mean over words of each against the others) or R2."""
    score: Interval
    num_films: int
    """Scored films of which it is known."""
    num_subjects: int

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        return {**vars(self), "score": self.score.to_dict()}


@dataclass(frozen=True)
class HeadChoice:
    """Which of the heads that a protocol trained was kept."""

    read: str
    """What it reads, as the protocol says it."""
    rate: float
    epoch: int
    """After which it was kept, from 1 on."""
    num_epochs: int
    """After which training ended."""
    selected_on: str
    """Films that chose it: val or test."""
    auroc: float
    """Its macro AUROC on these."""

    @property
    def text(self) -> str:
        """In tables: "rate 0.0001, epoch 3 of 8"."""
        return f"{self.read}, rate {self.rate:g}, epoch {self.epoch} of {self.num_epochs}"

    @property
    def is_tuned(self) -> bool:
        """Whether the encoder was fine-tuned with it."""
        return self.read.startswith(TUNED)


@dataclass(frozen=True)
class DrawScores:
    """Heads of several draws of their first weights, each chosen on its own: the mean of their scores."""

    num_draws: int
    macro_auroc: Interval
    """Mean over draws; of a resample too."""
    lowest: float
    highest: float

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        return {**vars(self), "macro_auroc": self.macro_auroc.to_dict()}


@dataclass(frozen=True)
class EvalScores(Scores):
    """scores.json: how well a candidate ranks the test films, and which films had no part in it."""

    num_not_packed: int = 0
    """Test films that could not be decoded."""
    num_twins_left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    """Films by split that a later split shows too."""
    not_fitted: tuple[str, ...] = ()
    """Findings without both classes in train, which have no probe."""
    not_chosen: tuple[str, ...] = ()
    """Findings that had no part in the choice of the strength: the films that choose it (of val, of the other folds, of
    the record alone those of folds of train) hold one class, or one subject, or no label."""
    chosen_on_few: tuple[str, ...] = ()
    """Findings that had a part in it on few val subjects with the finding, or without it."""
    strengths: dict[str, float] = dataclasses.field(default_factory=dict)
    """Inverse L2 strength (scikit-learn's C) of all findings under `ALL`; by fold where there are folds. Empty where no
    finding is fitted, and in older versions, which chose one by finding and did not record it."""

    is_decoded: bool = False
    """Whether it was asked what the features show of the record: of encoders it is, but in older versions."""
    decoded: dict[str, Decoding] = dataclasses.field(default_factory=dict)
    """By feature of the record that the cohort knows: how well it is decoded from the frozen features."""
    record_r2: Decoding | None = None
    """How much of the variance of the features the record explains."""
    num_left_out: dict[str, int] = dataclasses.field(default_factory=dict)
    """Films by split that do not meet the condition of the settings; empty, and not written, without one."""
    num_train_subjects: int = 0
    """Of whom the probe was fitted, where that is a share of the train subjects."""
    train_pos_subjects: dict[str, int] = dataclasses.field(default_factory=dict)
    """By finding, how many of them have a film with it."""

    is_matched: bool = False
    """Whether it was asked what remains among films alike: of older versions it was not."""
    matched_on: tuple[str, ...] = ()
    """Of view, sex and age (in bands) those that differ between the test films; empty where none does."""
    matched: dict[str, Matched] = dataclasses.field(default_factory=dict)
    """By finding: AUROC over pairs of films alike in these."""
    macro_matched: Interval | None = None
    """Mean over the findings whose match is not vacuous."""
    head: HeadChoice | None = None
    """Of a protocol: the head that was kept."""
    selected_on: str = ""
    """Films by which it was; empty, and not written, where no protocol chose."""
    over_draws: DrawScores | None = None
    """Of a protocol with several draws of the first weights; all other scores are of the first."""
    num_dropped: dict[str, int] = dataclasses.field(default_factory=dict)
    """Films by split that do not fill the last batch, and that a protocol leaves out."""

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready: "not defined" is None."""
        r2 = self.record_r2.to_dict() if self.record_r2 else None
        decoded = {name: each.to_dict() for name, each in self.decoded.items()}
        matched = {name: each.to_dict() for name, each in self.matched.items()}
        mean = self.macro_matched.to_dict() if self.macro_matched else None
        head = vars(self.head) if self.head else None
        draws = self.over_draws.to_dict() if self.over_draws else None
        found = {"decoded": decoded, "record_r2": r2, "matched": matched, "macro_matched": mean, "head": head}
        found["over_draws"] = draws
        values = {**super().to_dict(), **found}
        return {key: value for key, value in values.items() if value or key not in WRITTEN_IF_ANY}

    @property
    def decodings(self) -> dict[str, Decoding]:
        """What was decoded, by its name in tables; "features on record" last."""
        return {**self.decoded, **({FEATURES_ON_RECORD: self.record_r2} if self.record_r2 else {})}

    @property
    def matched_text(self) -> str:
        """The mean as tables show it, with how many findings have no part in it; empty where nothing was matched."""
        if self.macro_matched is None:
            return ""
        num = sum(each.is_vacuous for each in self.matched.values())
        return self.macro_matched.to_text() + (f", {num} vacuous" if num else "")

    @classmethod
    def of(
        cls,
        scores: Scores,
        num_not_packed: int,
        num_twins_left_out: dict[str, int],
        not_fitted: tuple[str, ...],
        **about_strengths: Any,
    ) -> EvalScores:
        """Return the scores with what they leave out, and how the strengths were chosen: the last fields by name."""
        return cls(
            **vars(scores),
            num_not_packed=num_not_packed,
            num_twins_left_out=num_twins_left_out,
            not_fitted=not_fitted,
            **about_strengths,
        )

    @property
    def strength_text(self) -> str:
        """The strength, or the least and the largest of those of the folds; empty where none was recorded."""
        if not self.strengths:
            return ""
        least, *more = sorted(set(self.strengths.values()))
        return f"{least:g} to {more[-1]:g}" if more else f"{least:g}"

    @property
    def choice_note(self) -> str:
        """How far val could choose the strength, in sentences; empty where all findings had a sound part in it."""
        sentences = []
        if self.not_chosen:
            names = ", ".join(plain(name, 60) for name in self.not_chosen)
            what = "the films that choose it hold no label, one subject or one class"
            sentences.append(f"No part in the choice of the strength, because {what}: {names}.")
        if self.chosen_on_few:
            num = count_noun(len(self.chosen_on_few), "finding")
            split = self.head.selected_on if self.head else "val"
            whose = "subjects" if any(each.startswith(FOLD) for each in self.strengths) else f"{split} subjects"
            few = f"fewer than {FEW_SUBJECTS} {whose} with or without the finding"
            sentences.append(f"{'Head' if self.head else 'Strength'} chosen on {few}: {num}.")
        return " ".join(sentences)

    def count_on(self, predictions: Predictions) -> EvalScores:
        """Return scores of an older version with the subjects that each number rests on, and the marks that follow."""
        pos_L, neg_L = count_subjects(predictions.labels, predictions.subject_id)
        names = predictions.finding_names.tolist()
        subjects = {name: (int(pos), int(neg)) for name, pos, neg in zip(names, pos_L, neg_L, strict=True)}
        findings = {
            name: score.counted(*subjects.get(name, (0, 0)), self.num_resamples)
            for name, score in self.findings.items()
        }
        rests_on = rarer_of_mean(findings), self.num_resamples
        macro_auroc, macro_auprc = self.macro_auroc.counted(*rests_on), self.macro_auprc.counted(*rests_on)
        return dataclasses.replace(self, findings=findings, macro_auroc=macro_auroc, macro_auprc=macro_auprc)
