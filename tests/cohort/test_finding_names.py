"""Names of findings: which agree between data sets, which only seem to, and the named sets."""

import pytest

from cxrssl.cohort.finding_names import (
    FINDING_SETS,
    canonical_name,
    choose_findings,
    explain_unlike,
    shared_findings,
)
from cxrssl.cohort.sources import chexpert, nih
from cxrssl.core.errors import UsageError

CHEXPERT, NIH = chexpert.FINDINGS, nih.FINDINGS


def test_names_of_nih_and_chexpert_that_agree() -> None:
    assert shared_findings(NIH, CHEXPERT) == (
        ("Atelectasis", "Atelectasis"),
        ("Cardiomegaly", "Cardiomegaly"),
        ("Effusion", "Pleural Effusion"),
        ("Pneumonia", "Pneumonia"),
        ("Pneumothorax", "Pneumothorax"),
        ("Consolidation", "Consolidation"),
        ("Edema", "Edema"),
    )
    assert {pair[::-1] for pair in shared_findings(CHEXPERT, NIH)} == set(shared_findings(NIH, CHEXPERT))


def test_names_that_only_seem_to_agree_are_said_and_not_shared() -> None:
    sentences = explain_unlike(NIH, CHEXPERT)
    assert any(each.startswith('"Infiltration" is not "Lung Opacity"') for each in sentences)
    assert any(each.startswith('"Pleural_Thickening" is not "Pleural Other"') for each in sentences)
    assert not any('"Pneumonia"' in each for each in sentences)
    assert not explain_unlike(NIH, NIH)


@pytest.mark.parametrize(
    ("name", "canonical"),
    [
        ("Pleural_Thickening", "Pleural Thickening"),
        ("effusion", "Pleural Effusion"),
        ("Airspace Opacity", "Lung Opacity"),
        ("Silicosis", "Silicosis"),
    ],
)
def test_a_name_is_known_by_other_spellings(name: str, canonical: str) -> None:
    assert canonical_name(name) == canonical


def test_sets_are_those_of_the_data_sets() -> None:
    assert {name: len(names) for name, names in FINDING_SETS.items()} == {
        "mimic14": 14,
        "nih14": 14,
        "nih8": 8,
        "chexpert5": 5,
    }
    assert FINDING_SETS["mimic14"] == CHEXPERT
    assert {canonical_name(name) for name in NIH} == set(FINDING_SETS["nih14"])


def test_a_choice_has_the_names_and_the_order_of_the_cohort() -> None:
    assert choose_findings("chexpert5", NIH, "nih") == (
        "Atelectasis", "Cardiomegaly", "Effusion", "Consolidation", "Edema",
    )  # fmt: skip
    assert choose_findings("Hernia, Effusion", NIH, "nih") == ("Effusion", "Hernia")
    assert choose_findings("Pleural Effusion", NIH, "nih") == ("Effusion",)
    assert choose_findings("nih14", NIH, "nih") is None
    assert choose_findings("", NIH, "nih") is None


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("mimic14", "no finding that agrees with No Finding, Enlarged Cardiomediastinum, Lung Opacity, Lung Lesion"),
        ("Efusion", 'no finding "Efusion"'),
        ("Effusion,Pleural Effusion", 'names "Effusion" twice'),
        (",", "names no finding"),
    ],
)
def test_a_choice_that_the_cohort_lacks_is_refused_in_one_sentence(text: str, what: str) -> None:
    with pytest.raises(UsageError, match=what):
        choose_findings(text, NIH, "nih")


def test_a_set_that_is_not_whole_names_what_is_there() -> None:
    with pytest.raises(UsageError) as error:
        choose_findings("nih8", CHEXPERT, "mimic")
    assert "Atelectasis,Cardiomegaly,Pleural Effusion,Pneumonia,Pneumothorax" in error.value.hint
