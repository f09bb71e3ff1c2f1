"""What the terms of a dataset say of weights that were made from it: a reminder, no legal advice.

In: the datasets that an encoder has seen. Out: Terms, the strictest first. Never: more freedom than the terms name.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from cxrssl.core.text import plain

Verdict = Literal["restricted", "unknown", "not checked", "by film", "attribution", "free"]
STRICTNESS: tuple[Verdict, ...] = ("restricted", "unknown", "not checked", "by film", "attribution", "free")
SYNTHETIC = "synthetic"
NOT_CHECKED = "not checked: read the agreement"
"""Stands wherever nobody has read what the terms say."""


@dataclass(frozen=True)
class Terms:
    """What may be done with weights made from a dataset."""

    dataset: str
    verdict: Verdict
    sentence: str
    source: str
    """What was read for the sentence."""


KNOWN = {
    "mimic": Terms(
        "mimic",
        "restricted",
        "Access to the data may not be shared, and PhysioNet asks to treat models made from MIMIC as sensitive. Share "
        "these weights, and features made with them, on PhysioNet alone, under the agreement of the source data.",
        "PhysioNet, Guidelines for creating datasets and models from MIMIC, 24 April 2024; PhysioNet data use "
        "agreement 1.5.0, no. 3",
    ),
    "chexpert": Terms(
        "chexpert",
        "not checked",
        "No part of the dataset may be given to others without written permission of Stanford, and it is for "
        f"non-commercial research. What the agreement says of weights was {NOT_CHECKED}, or ask Stanford, before "
        "sharing them.",
        "Stanford University Dataset Research Use Agreement, as public repositories quote it; the agreement was not "
        "read",
    ),
    "nih": Terms(
        "nih",
        "attribution",
        "The use of the films is not restricted. Name the NIH Clinical Center as their provider, link to its download "
        "site, and cite Wang et al. 2017 (CVPR).",
        "the page of Google Cloud Healthcare on the NIH dataset, which restates its terms",
    ),
    "covid": Terms(
        "covid",
        "by film",
        "Each film has a licence of its own, some of them non-commercial or share-alike, and metadata.csv itself is "
        "CC BY-NC-SA 4.0. Look at the column license for the films of the cohort; what these licences say of weights "
        "was not checked: read them.",
        "README and metadata.csv of the COVID-19 image data collection",
    ),
    "dicom": Terms(
        "dicom",
        "unknown",
        "The program does not know the archive of these films: the person responsible for it decides what may be done "
        "with these weights.",
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
