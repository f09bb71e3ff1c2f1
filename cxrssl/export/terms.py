"""What the terms of a dataset say of weights that were made from it: a reminder, no legal advice.

In: the datasets that an encoder has seen. Out: Terms, the strictest first. Never: more freedom than the terms name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cxrssl.core.text import plain

Verdict = Literal["restricted", "unknown", "research only", "by film", "attribution", "free"]
STRICTNESS: tuple[Verdict, ...] = ("restricted", "unknown", "research only", "by film", "attribution", "free")
SYNTHETIC = "synthetic"


@dataclass(frozen=True)
class Terms:
    """What may be done with weights made from a dataset."""

    dataset: str
    verdict: Verdict
    sentence: str
    source: str


KNOWN = {
    "mimic": Terms(
        "mimic",
        "restricted",
        "Do not give these weights, or features made with them, to anybody who has not signed the agreement. PhysioNet "
        "asks to treat models made from MIMIC as sensitive, and to share them on PhysioNet under the agreement of the "
        "source data.",
        "PhysioNet Credentialed Health Data Use Agreement 1.5.0, no. 3; PhysioNet, Guidelines for creating datasets "
        "and models from MIMIC, 24 April 2024",
    ),
    "chexpert": Terms(
        "chexpert",
        "research only",
        "Non-commercial research only. The agreement forbids to hand on the data, and gives no right to hand on what "
        "is derived from it: ask Stanford before you share these weights.",
        "Stanford University Dataset Research Use Agreement, as accepted at the download",
    ),
    "nih": Terms(
        "nih",
        "attribution",
        "The use is not restricted. Name the NIH Clinical Center as the provider of the films, link to its download "
        "site, and cite Wang et al. 2017 (CVPR).",
        "README of NIH ChestX-ray14",
    ),
    "covid": Terms(
        "covid",
        "by film",
        "Each film has a licence of its own, some of them non-commercial or share-alike: look at the column license of "
        "metadata.csv for the films of the cohort before you share these weights.",
        "metadata.csv of the COVID-19 image data collection",
    ),
    "dicom": Terms(
        "dicom",
        "unknown",
        "The films are of an archive that the program does not know: the person responsible for them decides what may "
        "be done with these weights.",
        "no terms are recorded",
    ),
    SYNTHETIC: Terms(
        SYNTHETIC,
        "free",
        "The films and the record are drawn; no person is in them.",
        "the synthetic hospital of cxrssl",
    ),
}


def find_terms(datasets: Iterable[str]) -> list[Terms]:
    """Return the terms of each dataset once, the strictest first; one that is not known allows nothing."""
    found = [KNOWN.get(name) or _unknown(name) for name in dict.fromkeys(datasets)]
    return sorted(found, key=lambda terms: STRICTNESS.index(terms.verdict))


def _unknown(dataset: str) -> Terms:
    return Terms(plain(dataset, 60), "unknown", KNOWN["dicom"].sentence, KNOWN["dicom"].source)
