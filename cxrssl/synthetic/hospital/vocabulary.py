"""Words of the hospital tables with their weights. Source: value counts of the MIMIC-IV demo 2.2, rounded."""

from __future__ import annotations

ADMISSION_TYPE = {
    "EW EMER.": 0.38,
    "OBSERVATION ADMIT": 0.16,
    "URGENT": 0.14,
    "EU OBSERVATION": 0.11,
    "SURGICAL SAME DAY ADMISSION": 0.065,
    "DIRECT EMER.": 0.055,
    "ELECTIVE": 0.05,
    "DIRECT OBSERVATION": 0.025,
    "AMBULATORY OBSERVATION": 0.02,
}
ED_FRAC = {"EW EMER.": 0.98, "OBSERVATION ADMIT": 0.85, "URGENT": 0.35, "EU OBSERVATION": 0.98}
"""Share of admissions that came through the emergency department; 0 for types not named."""

ICU_FRAC = {"EW EMER.": 0.40, "URGENT": 0.52, "SURGICAL SAME DAY ADMISSION": 0.4, "DIRECT EMER.": 0.4, "ELECTIVE": 0.3}
"""Share with an ICU stay; 0.1 for types not named."""

ADMISSION_LOCATION = {
    "PHYSICIAN REFERRAL": 0.50,
    "TRANSFER FROM HOSPITAL": 0.30,
    "CLINIC REFERRAL": 0.08,
    "PROCEDURE SITE": 0.05,
    "WALK-IN/SELF REFERRAL": 0.04,
    "TRANSFER FROM SKILLED NURSING FACILITY": 0.03,
}
DISCHARGE_LOCATION = {
    "HOME HEALTH CARE": 0.29,
    "HOME": 0.28,
    "": 0.16,
    "SKILLED NURSING FACILITY": 0.14,
    "REHAB": 0.05,
    "CHRONIC/LONG TERM ACUTE CARE": 0.04,
    "HOSPICE": 0.02,
    "AGAINST ADVICE": 0.02,
}
INSURANCE_YOUNG = {"Other": 0.75, "Medicaid": 0.20, "Medicare": 0.05}
INSURANCE_OLD = {"Medicare": 0.75, "Other": 0.22, "Medicaid": 0.03}
LANGUAGE = {"ENGLISH": 0.92, "?": 0.08}
MARITAL_STATUS = {"SINGLE": 0.40, "MARRIED": 0.33, "WIDOWED": 0.12, "DIVORCED": 0.10, "": 0.05}
RACE = {
    "WHITE": 0.62,
    "BLACK/AFRICAN AMERICAN": 0.17,
    "UNKNOWN": 0.06,
    "OTHER": 0.03,
    "HISPANIC/LATINO - CUBAN": 0.02,
    "HISPANIC/LATINO - PUERTO RICAN": 0.02,
    "PORTUGUESE": 0.02,
    "ASIAN - CHINESE": 0.02,
    "BLACK/CAPE VERDEAN": 0.015,
    "WHITE - OTHER EUROPEAN": 0.015,
    "UNABLE TO OBTAIN": 0.01,
}
YEAR_GROUP = {"2008 - 2010": 0.35, "2011 - 2013": 0.25, "2014 - 2016": 0.25, "2017 - 2019": 0.15}
ICU_UNIT = {
    "Medical Intensive Care Unit (MICU)": 0.23,
    "Surgical Intensive Care Unit (SICU)": 0.20,
    "Cardiac Vascular Intensive Care Unit (CVICU)": 0.18,
    "Medical/Surgical Intensive Care Unit (MICU/SICU)": 0.16,
    "Trauma SICU (TSICU)": 0.10,
    "Coronary Care Unit (CCU)": 0.10,
    "Neuro Surgical Intensive Care Unit (Neuro SICU)": 0.02,
    "Neuro Intermediate": 0.01,
}
WARD = {
    "Medicine": 0.30,
    "Med/Surg": 0.18,
    "Neurology": 0.12,
    "Medicine/Cardiology": 0.12,
    "Cardiac Surgery": 0.10,
    "Hematology/Oncology": 0.08,
    "Vascular": 0.06,
    "Transplant": 0.04,
}
