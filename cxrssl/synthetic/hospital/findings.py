"""The findings of a study, given the patient and the place, and the labels of its report.

In: sex, age, view, ICU stay, death in hospital. Out: finding -> severity, and a row of the chexpert table.
In the world `mixed` the record is informative: sicker and older patients have more findings, as in a real hospital, so
a probe on the record alone reaches an AUROC of about 0.65 to 0.75 on the commonest findings. In the other worlds all
are drawn as of an average study, and in `disease` the illness adds to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from cxrssl.synthetic.chance import stream
from cxrssl.synthetic.hospital.worlds import raised_by

LABELS = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
"""The columns of the chexpert table after subject_id and study_id."""


@dataclass(frozen=True)
class Risk:
    """Log odds of one finding and how much of it is the patient's own, in all of their studies."""

    base: float
    """Log odds in a man of 62 who stands, outside the ICU."""
    decade: float = 0.0
    """Added for each ten years of age."""
    male: float = 0.0
    portable: float = 0.0
    icu: float = 0.0
    died: float = 0.0
    lasting: float = 0.35
    """Correlation of the finding between two studies of one patient (of its latent liability)."""
    denied_frac: float = 0.05
    """Share of studies without the finding whose report denies it (0.0 rather than blank)."""


RISKS = {
    "Cardiomegaly": Risk(-1.55, 0.50, 0.1, 0.6, 0.1, 0.1, 0.80, 0.07),
    "Edema": Risk(-2.35, 0.25, 0.0, 0.8, 0.9, 0.7, 0.30, 0.10),
    "Pleural Effusion": Risk(-1.80, 0.25, 0.0, 0.8, 0.9, 0.5, 0.40, 0.12),
    "Atelectasis": Risk(-1.85, 0.15, 0.0, 0.8, 0.8, 0.2, 0.35, 0.02),
    "Consolidation": Risk(-3.45, 0.10, 0.1, 0.4, 0.8, 0.7, 0.30, 0.04),
    "Pneumonia": Risk(-3.15, 0.15, 0.2, 0.3, 0.6, 0.8, 0.30, 0.10),
    "Lung Opacity": Risk(-2.30, 0.15, 0.0, 0.6, 0.6, 0.5, 0.35, 0.02),
    "Pneumothorax": Risk(-3.90, -0.20, 0.6, 0.3, 1.1, 0.0, 0.40, 0.18),
    "Lung Lesion": Risk(-2.70, 0.40, 0.3, -0.3, -0.5, 0.0, 0.90, 0.01),
    "Pleural Other": Risk(-3.60, 0.45, 0.7, 0.0, 0.0, 0.0, 0.90, 0.01),
    "Fracture": Risk(-3.20, 0.55, -0.3, 0.2, 0.1, 0.0, 0.90, 0.02),
    "Enlarged Cardiomediastinum": Risk(-3.25, 0.30, 0.1, 0.6, 0.4, 0.3, 0.70, 0.03),
    "Support Devices": Risk(-2.10, 0.10, 0.0, 0.9, 1.1, 0.5, 0.30, 0.01),
}
"""In drawing order: edema follows the heart, effusion follows edema, opacity follows consolidation."""

FOLLOWS = {
    "Edema": ("Cardiomegaly", 0.7),
    "Pleural Effusion": ("Edema", 0.7),
    "Atelectasis": ("Pleural Effusion", 0.7),
    "Pneumonia": ("Consolidation", 1.2),
}
"""Finding -> (earlier finding, log odds added when that one is there)."""

UNCERTAIN_FRAC = 0.04
DRAWN_SEPARATELY = ("Consolidation", "Pneumonia")
"""Findings that are an opacity by nature: the label Lung Opacity is true with them."""


@dataclass(frozen=True)
class Circumstances:
    """The record of a study that its findings depend on: 1, 0 or, of an average study, the share."""

    male: float
    age_y: float
    portable: float
    icu: float
    died: float


AVERAGE = Circumstances(0.55, 58.4, 0.5, 0.35, 0.09)
"""Means over the studies of the world `mixed`."""


def log_odds(risk: Risk, who: Circumstances) -> float:
    """Return the log odds of a finding before its dependence on other findings."""
    decades = (who.age_y - 62) / 10
    return (
        risk.base
        + risk.decade * decades
        + risk.male * who.male
        + risk.portable * who.portable
        + risk.icu * who.icu
        + risk.died * who.died
    )


def draw_findings(
    seed: int, subject_id: int, study_id: int, who: Circumstances, illness: str | None = None, times: float = 1.0
) -> dict[str, float]:
    """Return finding -> severity in [0.1, 1]; likelier findings are severer, lasting ones return in each study.

    `illness` is that of the world `disease`, None in others. `times` multiplies the odds of every finding.
    """
    signs: dict[str, float] = {}
    owns = stream(seed, "patient's liability", subject_id).standard_normal(len(RISKS)).tolist()
    news = stream(seed, "study's liability", subject_id, study_id).standard_normal(len(RISKS)).tolist()
    for (finding, risk), own, new in zip(RISKS.items(), owns, news, strict=True):
        liability = math.sqrt(risk.lasting) * own + math.sqrt(1 - risk.lasting) * new
        rank = 0.5 * (1 + math.erf(liability / math.sqrt(2)))
        odds = log_odds(risk, who) + math.log(times) + (0.0 if illness is None else raised_by(illness, finding))
        cause, weight = FOLLOWS.get(finding, ("", 0.0))
        frac = 1 / (1 + math.exp(-odds - weight * (cause in signs)))
        if rank < frac:
            signs[finding] = round(max(0.1, 1 - rank / frac), 3)
    return signs


def true_labels(signs: Mapping[str, float]) -> dict[str, bool]:
    """Return label -> whether the film shows it, without the uncertainty and the gaps of a report."""
    truth = {label: label in signs for label in LABELS}
    truth["Lung Opacity"] |= any(finding in signs for finding in DRAWN_SEPARATELY)
    truth["No Finding"] = not set(signs) - {"Support Devices"}
    return truth


def report_labels(seed: int, subject_id: int, study_id: int, signs: Mapping[str, float]) -> dict[str, float | None]:
    """Return label -> 1.0, -1.0 (uncertain), 0.0 (denied) or None (not mentioned)."""
    rng = stream(seed, "report", subject_id, study_id)
    labels: dict[str, float | None] = {}
    for label, is_true in true_labels(signs).items():
        chance = float(rng.random())
        if label == "No Finding":
            labels[label] = 1.0 if is_true else None
        elif is_true:
            labels[label] = -1.0 if chance < UNCERTAIN_FRAC else 1.0
        else:
            labels[label] = 0.0 if chance < RISKS[label].denied_frac else None
    return labels
