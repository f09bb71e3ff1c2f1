"""The worlds of the synthetic hospital: what the health record says about findings and about the look of a film.

mixed    As in a real hospital, and the default: view, position, sex and age change the drawn film, and findings depend
         on age, sex, view, ICU and death.
none     The record says nothing: findings depend on no part of it, and the films show another sex, age and view, drawn
         apart from it.
look     The record says what the film looks like, as in `mixed`, and nothing about findings. Records and findings are
         those of `none`, film by film: only what is drawn besides findings differs.
disease  The look as in `look`. The patient's illness (ILLNESSES) raises findings on all of the films, and decides
         whether an admission has an ICU stay, in which unit, and how long it lasts. Sex and age say nothing about
         findings; view and position do so through the ICU alone.

Known answers, of 4,000 patients: AUROC, macro over the 13 findings, of a linear model on a part of the record, fitted
on half of the patients and scored on the other half.

                                       mixed   none   look   disease
    sex and age                         .64     .50    .50     .50
    view and position                   .62     .50    .50     .52
    icu, care unit, since admission     .62     .50    .50     .65
    all of these                        .72     .50    .50     .65
    all of these, for a later study     .66     .50    .50     .65

In `disease` it is .64 to .72 for the findings of an illness and .50 for Lung Lesion and Pleural Other.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np

from cxrssl.core.errors import UsageError
from cxrssl.core.text import plain
from cxrssl.synthetic.chance import pick, stream
from cxrssl.synthetic.hospital import vocabulary as words

Record = Literal["mixed", "none", "look", "disease"]
"""What the record tells; the name of a world."""


def parse_record(text: str) -> Record:
    """Return the world of this name, or raise UsageError."""
    found = [record for record in get_args(Record) if record == text]
    if not found:
        hint = f"choose one of {', '.join(get_args(Record))}"
        raise UsageError(f'there is no world "{plain(text, 60)}" of --record', hint=hint)
    record: Record = found[0]
    return record


@dataclass(frozen=True)
class Illness:
    """What one kind of illness does to a patient of the world `disease`."""

    share: float
    """Of patients."""
    findings: tuple[str, ...] = ()
    """Log odds of these rise by RISE, those of all other findings that an illness raises fall by FALL."""
    icu_frac: float = 0.1
    """Share of admissions with an ICU stay."""
    units: dict[str, float] = field(default_factory=dict)
    """ICU unit -> weight."""
    median_days: float = 2.0
    """Median length of an admission."""


RISE, FALL = 1.8, 0.8
ILLNESSES = {
    "heart": Illness(
        0.28,
        ("Cardiomegaly", "Edema", "Pleural Effusion", "Enlarged Cardiomediastinum"),
        0.75,
        {"Cardiac Vascular Intensive Care Unit (CVICU)": 0.5, "Coronary Care Unit (CCU)": 0.4},
        7.0,
    ),
    "lungs": Illness(
        0.27,
        ("Consolidation", "Pneumonia", "Lung Opacity", "Atelectasis"),
        0.75,
        {"Medical Intensive Care Unit (MICU)": 0.9},
        10.0,
    ),
    "injury": Illness(0.2, ("Pneumothorax", "Fracture", "Support Devices"), 0.75, {"Trauma SICU (TSICU)": 0.9}, 5.0),
    "": Illness(0.25),
}
"""Kind -> what it does; "" is none of the chest. Lung Lesion and Pleural Other are raised by none of them."""
ANY_UNIT_FRAC = 0.1
"""Share of ICU stays in a unit that the illness does not decide."""
RAISED = {finding for illness in ILLNESSES.values() for finding in illness.findings}


def draw_illness(seed: int, subject_id: int) -> str:
    """Return the patient's illness, a key of ILLNESSES."""
    rng = stream(seed, "illness", subject_id)
    return pick(rng, {kind: illness.share for kind, illness in ILLNESSES.items()})


def raised_by(kind: str, finding: str) -> float:
    """Return what an illness adds to the log odds of a finding."""
    if finding not in RAISED:
        return 0.0
    return RISE if finding in ILLNESSES[kind].findings else -FALL


def unit_weights(kind: str) -> dict[str, float]:
    """Return ICU unit -> weight of a patient with this illness."""
    own = ILLNESSES[kind].units
    if not own:
        return words.ICU_UNIT
    total, num = sum(own.values()), sum(words.ICU_UNIT.values())
    return {
        unit: (1 - ANY_UNIT_FRAC) * own.get(unit, 0.0) / total + ANY_UNIT_FRAC * weight / num
        for unit, weight in words.ICU_UNIT.items()
    }


@dataclass(frozen=True)
class Look:
    """What a film shows beside findings."""

    sex: str
    age_y: int
    view: str
    """PA, AP, LATERAL or LL."""
    is_recumbent: bool


POSTURES = {"AP lying": 0.345, "AP": 0.065, "standing": 0.59}
STANDING = {"PA": 0.68, "LATERAL": 0.28, "LL": 0.04}
"""Shares of films in the world `mixed`."""


def draw_looks(seed: int, subject_id: int, study_id: int) -> Iterator[Look]:
    """Yield looks of a study's films that know nothing of the record, in about the shares of the world `mixed`.

    Sex and age are the same on all films of a patient, the posture on those of a study.
    """
    person = stream(seed, "hidden person", subject_id)
    sex = "F" if person.random() < 0.47 else "M"
    age_y = int(np.clip(person.normal(60, 18), 18, 97))
    rng = stream(seed, "hidden posture", subject_id, study_id)
    posture = pick(rng, POSTURES)
    while True:
        view = pick(rng, STANDING) if posture == "standing" else "AP"
        yield Look(sex, age_y, view, posture == "AP lying")
