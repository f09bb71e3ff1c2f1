"""One sentence on outcomes, in every view."""

from __future__ import annotations

import pytest

from cxrssl.results.outcomes import describe_outcomes


@pytest.mark.parametrize(
    ("is_used", "features", "sentence"),
    [
        (False, ("sex", "mortality"), "No outcome of a stay was a pretraining input of any run."),
        (True, ("los", "sex", "mortality"), "An outcome (in-hospital mortality, length of stay) was"),
        (True, ("moon",), "An outcome (one that this version does not know) was a pretraining input of any run."),
    ],
)
def test_outcomes_are_named_in_words(is_used: bool, features: tuple[str, ...], sentence: str) -> None:
    assert describe_outcomes(is_used, features, "any run").startswith(sentence)


def test_a_screen_shows_them_in_capitals() -> None:
    loud = describe_outcomes(True, ("los",), "this run", is_loud=True)
    assert loud == "AN OUTCOME OF THE STAY (length of stay) WAS A PRETRAINING INPUT OF THIS RUN."
