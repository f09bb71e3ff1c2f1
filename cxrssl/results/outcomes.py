"""Whether an outcome of a stay was a pretraining input, in the words that every view repeats.

In: names of features. Out: one sentence. Never: no outcome reported where one was used under a name unknown here.
"""

from __future__ import annotations

from collections.abc import Collection

from cxrssl.cohort.features import is_outcome_used, known_names

WORDS = {"mortality": "in-hospital mortality", "los": "length of stay"}
UNKNOWN = "one that this version does not know"


def describe_outcomes(is_used: bool, features: Collection[str], subject: str, is_loud: bool = False) -> str:
    """Return whether an outcome was an input of a subject, such as "any run"; `features` are all inputs."""
    if not is_used:
        return f"No outcome of a stay was a pretraining input of {subject}."
    names = [name for name in known_names() if name in features and is_outcome_used([name])]
    words = ", ".join(WORDS.get(name, name) for name in names) or UNKNOWN
    if is_loud:
        return f"AN OUTCOME OF THE STAY ({words}) WAS A PRETRAINING INPUT OF {subject.upper()}."
    return f"An outcome ({words}) was a pretraining input of {subject}."
