"""The tables of MIMIC-CXR-JPG, MIMIC-CXR, MIMIC-IV and MIMIC-IV-ED, declared: columns, forms, limits and keys."""

from __future__ import annotations

from cxrssl.cohort.tables.columns import Column, TableSpec

# Alphabetical, as in mimic-cxr-2.0.0-chexpert.csv.
FINDINGS: tuple[str, ...] = (
    "Atelectasis",
    "Cardiomegaly",
    "Consolidation",
    "Edema",
    "Enlarged Cardiomediastinum",
    "Fracture",
    "Lung Lesion",
    "Lung Opacity",
    "No Finding",
    "Pleural Effusion",
    "Pleural Other",
    "Pneumonia",
    "Pneumothorax",
    "Support Devices",
)
CENSORED_ANCHOR_AGE = 91  # replaces every age above 89

SUBJECT_ID = Column("subject_id", "id", form="1[0-9]{7}")
STUDY_ID = Column("study_id", "id", form="5[0-9]{7}")
IMAGE_ID = Column("dicom_id", form="[0-9a-f]{8}(-[0-9a-f]{8}){4}")
HADM_ID = Column("hadm_id", "id", form="2[0-9]{7}")

PATIENTS = TableSpec(
    "patients",
    (
        SUBJECT_ID,
        Column("gender", values=("F", "M")),
        Column("anchor_age", "int", low=0, high=CENSORED_ANCHOR_AGE),
        Column("anchor_year", "int", low=1800, high=2400),
        Column("anchor_year_group", may_be_blank=True),
        Column("dod", "date", may_be_blank=True, when_bad="blank"),
    ),
    key=("subject_id",),
    is_link=True,
)
ADMISSIONS = TableSpec(
    "admissions",
    (
        SUBJECT_ID,
        HADM_ID,
        Column("admittime", "time"),
        Column("dischtime", "time"),
        Column("deathtime", "time", may_be_blank=True, when_bad="blank"),
        # Blank says that the person did not come through the emergency department.
        Column("edregtime", "time", may_be_blank=True, when_bad="doubt"),
        Column("edouttime", "time", may_be_blank=True, when_bad="doubt"),
        Column("admission_type", may_be_blank=True, when_bad="blank"),
        Column("admission_location", may_be_blank=True, when_bad="blank"),
        Column("discharge_location", may_be_blank=True, when_bad="blank"),
        Column("insurance", may_be_blank=True, when_bad="blank"),
        Column("language", may_be_blank=True, when_bad="blank"),
        Column("marital_status", may_be_blank=True, when_bad="blank"),
        Column("race", may_be_blank=True, when_bad="blank", aliases=("ethnicity",)),
        Column("hospital_expire_flag", "id", values=("0", "1")),
    ),
    key=("hadm_id",),
    is_link=True,
)
ICUSTAYS = TableSpec(
    "icustays",
    (
        SUBJECT_ID,
        HADM_ID,
        Column("stay_id", "id", form="3[0-9]{7}"),
        Column("first_careunit", may_be_blank=True, when_bad="blank"),
        Column("last_careunit", may_be_blank=True, when_bad="blank"),
        Column("intime", "time"),
        Column("outtime", "time"),
    ),
    key=("stay_id",),
    is_link=True,
)
EDSTAYS = TableSpec(
    "edstays",
    (
        SUBJECT_ID,
        Column("hadm_id", "id", form="2[0-9]{7}", may_be_blank=True, when_bad="blank"),
        Column("stay_id", "id", form="3[0-9]{7}"),
        Column("intime", "time"),
        Column("outtime", "time"),
        Column("arrival_transport", may_be_blank=True, when_bad="blank"),
        Column("disposition", may_be_blank=True, when_bad="blank"),
    ),
    key=("stay_id",),
    is_link=True,
)
METADATA = TableSpec(
    "metadata",
    (
        IMAGE_ID,
        SUBJECT_ID,
        STUDY_ID,
        Column("ViewPosition", may_be_blank=True, when_bad="blank"),
        Column("Rows", "int", low=1, high=65535, may_be_blank=True, when_bad="blank"),
        Column("Columns", "int", low=1, high=65535, may_be_blank=True, when_bad="blank"),
        Column("StudyDate", form=r"[0-9]{8}(\.0+)?", may_be_blank=True, when_bad="blank"),
        # hhmmss.fff as a number, so without leading zeros: 80556.875 is 08:05:56.875.
        Column("StudyTime", form=r"[0-9]{1,6}(\.[0-9]*)?", may_be_blank=True, when_bad="blank"),
        Column("PatientOrientationCodeSequence_CodeMeaning", may_be_blank=True, when_bad="blank"),
    ),
    key=("dicom_id",),
)
FINDING_COLUMNS = tuple(
    # 2.1.0's test set says Airspace Opacity.
    Column(
        name,
        "float",
        form=r"-?[01](\.0*)?",
        may_be_blank=True,
        aliases=("Airspace Opacity",) * (name == "Lung Opacity"),
    )
    for name in FINDINGS
)
# MIMIC-CXR's list of its DICOM files; their tags then supply the columns of METADATA.
RECORDS = TableSpec("records", (IMAGE_ID, SUBJECT_ID, STUDY_ID), key=("dicom_id",))
CHEXPERT = TableSpec("chexpert", (SUBJECT_ID, STUDY_ID, *FINDING_COLUMNS), key=("study_id",))
RADIOLOGISTS = TableSpec("radiologists", (STUDY_ID, *FINDING_COLUMNS), key=("study_id",))
SPLIT = TableSpec(
    "split",
    (IMAGE_ID, STUDY_ID, SUBJECT_ID, Column("split", values=("train", "validate", "test"))),
    key=("dicom_id",),
)
SPECS = {
    "patients": PATIENTS,
    "admissions": ADMISSIONS,
    "icustays": ICUSTAYS,
    "edstays": EDSTAYS,
    "metadata": METADATA,
    "records": RECORDS,
    "labels": CHEXPERT,
    "radiologists": RADIOLOGISTS,
    "split": SPLIT,
}
