"""What the words of the hospital tables mean: word -> category, without regard to case.

Out: WORDS and `word_rows`, which become the table `word` of a cohort.
Never: a meaning for a word that is not listed: such a word is unknown, and the view `strange_word` counts it.
Source: value counts of the MIMIC-IV demo 2.2; of the other releases, the words that public code for MIMIC-IV lists.
"""

from __future__ import annotations

UNKNOWN = (
    "",
    "?",
    "___",
    "unknown",
    "unable to obtain",
    "patient declined to answer",
    "information not available",
)
"""Words that mean "unknown" in the tables."""

WORDS: dict[str, dict[str, tuple[str, ...]]] = {
    # 1.0 calls the column ethnicity and has 8 words; 2.0 and later have 33.
    "race": {
        "white": ("WHITE - BRAZILIAN", "WHITE - EASTERN EUROPEAN", "WHITE - OTHER EUROPEAN", "WHITE - RUSSIAN"),
        "black": ("BLACK/AFRICAN", "BLACK/AFRICAN AMERICAN", "BLACK/CAPE VERDEAN", "BLACK/CARIBBEAN ISLAND"),
        "hispanic": (
            "HISPANIC/LATINO",
            "HISPANIC OR LATINO",
            "HISPANIC/LATINO - CENTRAL AMERICAN",
            "HISPANIC/LATINO - COLUMBIAN",
            "HISPANIC/LATINO - CUBAN",
            "HISPANIC/LATINO - DOMINICAN",
            "HISPANIC/LATINO - GUATEMALAN",
            "HISPANIC/LATINO - HONDURAN",
            "HISPANIC/LATINO - MEXICAN",
            "HISPANIC/LATINO - PUERTO RICAN",
            "HISPANIC/LATINO - SALVADORAN",
            "SOUTH AMERICAN",
        ),
        "asian": (
            "ASIAN - ASIAN INDIAN",
            "ASIAN - CHINESE",
            "ASIAN - KOREAN",
            "ASIAN - SOUTH EAST ASIAN",
        ),
        "native": ("AMERICAN INDIAN/ALASKA NATIVE", "NATIVE HAWAIIAN OR OTHER PACIFIC ISLANDER"),
        # Other code counts Portuguese as white, as Hispanic or as other.
        "other": ("MULTIPLE RACE/ETHNICITY", "PORTUGUESE"),
    },
    # Before 3.0, Other includes private insurance.
    "insurance": {"medicare": (), "medicaid": (), "private": (), "other": ("NO CHARGE",)},
    # Before 3.0 only ENGLISH and "?".
    "language": {
        "english": (),
        "other": (
            "AMERICAN SIGN LANGUAGE",
            "AMHARIC",
            "ARABIC",
            "ARMENIAN",
            "BENGALI",
            "CHINESE",
            "FRENCH",
            "HAITIAN",
            "HINDI",
            "ITALIAN",
            "JAPANESE",
            "KABUVERDIANU",
            "KHMER",
            "KOREAN",
            "MODERN GREEK",
            "MODERN GREEK (1453-)",
            "PERSIAN",
            "POLISH",
            "PORTUGUESE",
            "RUSSIAN",
            "SOMALI",
            "SPANISH",
            "THAI",
            "VIETNAMESE",
        ),
    },
    "marital_status": {"married": (), "single": (), "widowed": (), "divorced": ("SEPARATED",)},
    "admission_type": {
        "emergency": ("EW EMER.", "DIRECT EMER."),
        "urgent": (),
        "observation": ("AMBULATORY OBSERVATION", "DIRECT OBSERVATION", "EU OBSERVATION", "OBSERVATION ADMIT"),
        "surgery": ("SURGICAL SAME DAY ADMISSION",),
        "elective": (),
    },
    "admission_location": {
        "emergency": ("EMERGENCY ROOM",),
        "referral": ("PHYSICIAN REFERRAL", "CLINIC REFERRAL"),
        "walk_in": ("WALK-IN/SELF REFERRAL",),
        "transfer": (
            "TRANSFER FROM HOSPITAL",
            "TRANSFER FROM SKILLED NURSING FACILITY",
            "INTERNAL TRANSFER TO OR FROM PSYCH",
        ),
        "procedure": ("PROCEDURE SITE", "PACU", "AMBULATORY SURGERY TRANSFER"),
    },
    # `long_term`: a hospital for chronic or long acute care. `hospital`: another acute or a psychiatric hospital.
    "discharge_location": {
        "home": (),
        "home_care": ("HOME HEALTH CARE",),
        "nursing": ("SKILLED NURSING FACILITY", "ASSISTED LIVING"),
        "rehab": (),
        "long_term": ("CHRONIC/LONG TERM ACUTE CARE",),
        "hospice": (),
        "hospital": ("ACUTE HOSPITAL", "PSYCH FACILITY"),
        "against_advice": ("AGAINST ADVICE",),
        "died": (),
        "other": ("OTHER FACILITY", "HEALTHCARE FACILITY"),
    },
    # `ed`: through the emergency department, how is not recorded; `not_ed`: not through it.
    "ed_arrival": {"ambulance": (), "walk_in": ("WALK IN",), "ed": ("HELICOPTER", "OTHER"), "not_ed": ()},
    # `ward`: inside an admission and in no ICU stay.
    "care_unit": {
        "medical": ("MEDICAL INTENSIVE CARE UNIT (MICU)",),
        "surgical": ("SURGICAL INTENSIVE CARE UNIT (SICU)",),
        "medical_surgical": ("MEDICAL/SURGICAL INTENSIVE CARE UNIT (MICU/SICU)",),
        "cardiac": ("CARDIAC VASCULAR INTENSIVE CARE UNIT (CVICU)", "CORONARY CARE UNIT (CCU)"),
        "trauma": ("TRAUMA SICU (TSICU)",),
        "neuro": (
            "NEURO SURGICAL INTENSIVE CARE UNIT (NEURO SICU)",
            "NEURO INTERMEDIATE",
            "NEURO STEPDOWN",
            "NEUROLOGY",
        ),
        "other_icu": (
            "INTENSIVE CARE UNIT (ICU)",
            "MED/SURG",
            "MEDICINE",
            "MEDICINE/CARDIOLOGY INTERMEDIATE",
            "PACU",
            "SURGERY/PANCREATIC/BILIARY/BARIATRIC",
            "SURGERY/TRAUMA",
            "SURGERY/VASCULAR/INTERMEDIATE",
        ),
        "ward": (),
        "ed": (),
    },
}
"""Feature -> category -> the words that mean it, besides the category's own name."""


def word_categories(feature: str) -> tuple[str, ...]:
    """Return the categories of a feature in the order of WORDS."""
    return tuple(WORDS[feature])


def word_rows() -> list[tuple[str, str, str | None]]:
    """Return (feature, word in lower case, category); the category is None for a word that means "unknown"."""
    rows: dict[tuple[str, str], str | None] = {}
    for feature, categories in WORDS.items():
        rows |= {(feature, word): None for word in UNKNOWN}
        rows |= {(feature, word.lower()): name for name, words in categories.items() for word in (name, *words)}
    return [(feature, word, category) for (feature, word), category in sorted(rows.items())]
