"""Which features of the health record may be used with a film: those that are known when it is taken.

In: an open cohort, words of the command line. Out: names of features. No torch.
Never: a feature of the record that is known only after the film.
"""

from __future__ import annotations

from cxrssl.cohort.features import find_feature, parse_ehr
from cxrssl.cohort.read import Cohort
from cxrssl.core.errors import DataError, UsageError

EHR = "ehr"
"""All of the record that is known when a film is taken."""


def choose_record(cohort: Cohort, text: str) -> tuple[str, ...]:
    """Return the features that a user joins: EHR, or groups and names.

    Raises: UsageError for a feature that is known only after the film, DataError for one that the cohort does not know.
    """
    names = known_features(cohort) if text == EHR else parse_ehr(text)
    if not names and text != EHR:
        raise UsageError("--with names no feature of the record", hint=f"name groups or features, or {EHR} for all")
    later = [name for name in names if find_feature(name).known == "after"]
    if later:
        what = f"{', '.join(later)} is known only after the film, and cannot be joined to it"
        raise UsageError(what, hint=f"leave it out; --with {EHR} takes all that is known when a film is taken")
    unknown = [name for name in names if name not in films_features(cohort)]
    if unknown or not names:
        what = ", ".join(unknown) or "anything of the record"
        raise DataError(f"no film of cohort {cohort.name} has {what}", cohort.folder, "see cxrssl cohort show")
    return names


def known_features(cohort: Cohort) -> tuple[str, ...]:
    """Return the features that are known when the film is taken, for any film of the cohort, each in its first form.

    A death after the film would predict findings that no reader of the film could have known.
    """
    return tuple(name for name in films_features(cohort) if not find_feature(name).form_of)


def films_features(cohort: Cohort) -> tuple[str, ...]:
    """Return the same features in all their forms."""
    return tuple(
        name
        for column, name in enumerate(cohort.names)
        if cohort.ehr_known[:, column].any() and find_feature(name).known != "after"
    )
