"""Names of findings: which names of two data sets mean the same, which only seem to, and named sets of them.

In: names as cohorts have them. Out: pairs that agree, sentences on those that do not, the findings of a set.
Never: a name taken for another whose label was defined otherwise. Names that agree say nothing of who labelled the
films: reports read by NegBio, by CheXpert's labeller or by radiologists.

Source: Wang et al. 2017 (ChestX-ray8, table 1) and its extension to 14 findings; Irvin et al. 2019 (CheXpert, table 1
and section 5 for the five of its competition); Johnson et al. 2019 (MIMIC-CXR-JPG), labelled by CheXpert's labeller.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from cxrssl.core.errors import UsageError
from cxrssl.core.text import nearest_hint, plain, shell_word

CHEXPERT_14 = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema",
    "Consolidation", "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture",
    "Support Devices",
)  # fmt: skip
NIH_8 = (
    "Atelectasis", "Cardiomegaly", "Pleural Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia", "Pneumothorax",
)  # fmt: skip
NIH_14 = (*NIH_8, "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural Thickening", "Hernia")
FINDING_SETS: Mapping[str, tuple[str, ...]] = {
    "mimic14": CHEXPERT_14,
    "nih14": NIH_14,
    "nih8": NIH_8,
    "chexpert5": ("Atelectasis", "Cardiomegaly", "Consolidation", "Edema", "Pleural Effusion"),
}
"""By the name of a set its findings, by canonical names: those of CheXpert, and of NIH for what CheXpert lacks."""
OTHER_NAMES: Mapping[str, str] = {
    "effusion": "Pleural Effusion",  # NIH
    "airspace opacity": "Lung Opacity",  # the radiologists' test set of MIMIC-CXR-JPG 2.1.0
}
"""Names of data sets that agree with a canonical one of another spelling, in small letters."""
NOT_THE_SAME: Mapping[tuple[str, str], str] = {
    ("Infiltration", "Lung Opacity"): "an opacity is also an edema, a consolidation, an atelectasis or a mass",
    ("Infiltration", "Consolidation"): "NIH labels a consolidation apart from an infiltration",
    ("Infiltration", "Pneumonia"): "an infiltration is seen, a pneumonia is concluded",
    ("Mass", "Lung Lesion"): "a lung lesion is a mass or a nodule",
    ("Nodule", "Lung Lesion"): "a lung lesion is a mass or a nodule",
    ("Pleural Thickening", "Pleural Other"): "other changes of the pleura are also plaques and scars",
    ("Fibrosis", "Pleural Other"): "NIH's fibrosis is of the lung",
    ("Cardiomegaly", "Enlarged Cardiomediastinum"): "the mediastinum is also wide beside a heart of normal size",
}  # fmt: skip
"""Pairs of canonical names that are taken for each other, and why they are not the same."""
_CANONICAL = {name.lower(): name for names in FINDING_SETS.values() for name in names} | dict(OTHER_NAMES)


def canonical_name(name: str) -> str:
    """Return the name that all data sets share: "Pleural_Thickening" is "Pleural Thickening", "Effusion" is "Pleural
    Effusion". A name that is in no list stays as it is.
    """
    spelt = " ".join(name.replace("_", " ").split())
    return _CANONICAL.get(spelt.lower(), spelt)


def shared_findings(a: Sequence[str], b: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Return the findings of `a` that mean the same in `b`, as (name in a, name in b), in the order of `a`."""
    in_b: dict[str, str] = {}
    for name in b:
        in_b.setdefault(canonical_name(name), name)
    return tuple((name, in_b[canonical_name(name)]) for name in a if canonical_name(name) in in_b)


def explain_unlike(a: Sequence[str], b: Sequence[str]) -> tuple[str, ...]:
    """Return a sentence for each finding of `a` and of `b` that are taken for each other and are not the same."""
    names_a, names_b = ({canonical_name(name): name for name in names} for names in (a, b))
    return tuple(
        f'"{plain(here[one], 60)}" is not "{plain(there[other], 60)}": {why}'
        for (one, other), why in NOT_THE_SAME.items()
        for here, there in ((names_a, names_b), (names_b, names_a))
        if one in here and other in there and one not in there and other not in here
    )


def choose_findings(text: str, known: Sequence[str], cohort: str) -> tuple[str, ...] | None:
    """Return what `--findings` names, as the cohort calls them and in its order; None where that is all it has.

    `text` is empty, the name of a set, or names with commas between them.
    Raises: UsageError for a name that is neither, a name given twice, or a set of which the cohort lacks a finding.
    """
    if not text.strip():
        return None
    wanted = FINDING_SETS.get(text.strip()) or [part.strip() for part in text.split(",") if part.strip()]
    if not wanted:
        raise UsageError("--findings names no finding", hint=f"known: {', '.join([*FINDING_SETS, *known])}")
    own: dict[str, str] = {}
    for name in known:
        own.setdefault(canonical_name(name), name)
    found = [name if name in known else own.get(canonical_name(name), "") for name in wanted]
    absent = [name for name, own_name in zip(wanted, found, strict=True) if not own_name]
    if absent and text.strip() in FINDING_SETS:
        _refuse_set(text.strip(), absent, [name for name in found if name], cohort)
    if absent:
        what = f'cohort {cohort} has no finding "{plain(absent[0], 60)}", and there is no set of that name'
        raise UsageError(what, hint=nearest_hint(absent[0], [*known, *FINDING_SETS]))
    if len(set(found)) < len(found):
        twice = next(name for name in found if found.count(name) > 1)
        raise UsageError(f'--findings names "{plain(twice, 60)}" twice', hint="name it once")
    chosen = tuple(name for name in known if name in set(found))
    return None if len(chosen) == len(known) else chosen


def _refuse_set(name: str, absent: Sequence[str], found: Sequence[str], cohort: str) -> None:
    what = f"cohort {cohort} has no finding that agrees with {', '.join(absent)} of {name}"
    own = ",".join(found)
    raise UsageError(
        what, hint=f"name those that it has: --findings {shell_word(own)}" if own else "choose another set"
    )
