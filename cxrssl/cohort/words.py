"""What the words of the hospital tables mean: word -> category, without regard to case, as features.toml declares it.

Out: WORDS and `word_rows`, which become the table `word` of a cohort.
Never: a meaning for a word that is not listed: such a word is unknown, and the view `strange_word` counts it.
"""

from __future__ import annotations

from collections.abc import Mapping

from cxrssl.cohort.features import BUILT_IN, FEATURES

UNKNOWN = BUILT_IN.unknown_words
"""Words that mean "unknown" in the tables."""
WORDS: dict[str, Mapping[str, tuple[str, ...]]] = {feature.name: feature.words for feature in FEATURES if feature.words}
"""Feature -> category -> the words that mean it, besides the category's own name."""


def word_rows() -> list[tuple[str, str, str | None]]:
    """Return (feature, word in lower case, category); the category is None for a word that means "unknown"."""
    rows: dict[tuple[str, str], str | None] = {}
    for feature, categories in WORDS.items():
        rows |= {(feature, word): None for word in UNKNOWN}
        rows |= {(feature, word.lower()): name for name, words in categories.items() for word in (name, *words)}
    return [(feature, word, category) for (feature, word), category in sorted(rows.items())]
