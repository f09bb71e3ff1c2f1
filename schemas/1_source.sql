-- The accepted rows of the dataset's own files, one table a kind of thing, in the dataset's own words.
-- Filled by cohort/database from the tables declared in cohort/sources/. Empty where a dataset has no such table.
-- Large tables have no PRIMARY KEY: its index would be most of the file. cohort/database checks the keys after filling them.
-- Ids and paths hardly repeat: compressing them takes longer than the rest of the insertion and saves less than half of the file.

-- Source: MIMIC-IV hosp/patients (versions 1.0 to 3.1 have the same columns; 1.0 calls the folder core/).
CREATE TABLE patient (
    subject_id        VARCHAR USING COMPRESSION uncompressed NOT NULL,
    sex               VARCHAR CHECK (sex IN ('male', 'female')),  -- gender F, M
    anchor_age        INTEGER,   -- years in anchor_year; 91 stands for every age above 89
    anchor_year       INTEGER,   -- shifted into the future, per patient
    anchor_year_group VARCHAR,
    dod               DATE       -- up to one year after the last discharge from version 2.0 on; never a model input
);

-- Source: MIMIC-IV hosp/admissions. The emergency interval belongs to the admission it led to (93 of the demo's 275 have none).
CREATE TABLE admission (
    subject_id           VARCHAR USING COMPRESSION uncompressed NOT NULL,
    hadm_id              VARCHAR USING COMPRESSION uncompressed NOT NULL,
    admittime            TIMESTAMP NOT NULL,
    dischtime            TIMESTAMP NOT NULL,
    deathtime            TIMESTAMP,
    edregtime            TIMESTAMP,
    edouttime            TIMESTAMP,
    admission_type       VARCHAR,
    admission_location   VARCHAR,
    discharge_location   VARCHAR,
    insurance            VARCHAR,
    language             VARCHAR,
    marital_status       VARCHAR,
    race                 VARCHAR,   -- "ethnicity" in version 1.0
    hospital_expire_flag BOOLEAN NOT NULL,
    line                 BIGINT,    -- of the row in its file, which the published link rule depends on
    CHECK (dischtime >= admittime)
);

-- Source: MIMIC-IV icu/icustays. A stay may begin before its admission and end after it (2 and 22 of the demo's 140).
CREATE TABLE icu_stay (
    subject_id     VARCHAR USING COMPRESSION uncompressed NOT NULL,
    hadm_id        VARCHAR USING COMPRESSION uncompressed,           -- NULL where admissions has no such row
    stay_id        VARCHAR USING COMPRESSION uncompressed NOT NULL,
    first_careunit VARCHAR,
    last_careunit  VARCHAR,
    intime         TIMESTAMP NOT NULL,
    outtime        TIMESTAMP NOT NULL,
    line           BIGINT,       -- as in admission
    CHECK (outtime >= intime)
);

-- Source: MIMIC-IV-ED ed/edstays, if the ED module is available. hadm_id is NULL when the visit led to no admission.
CREATE TABLE ed_stay (
    subject_id        VARCHAR USING COMPRESSION uncompressed NOT NULL,
    hadm_id           VARCHAR USING COMPRESSION uncompressed,
    ed_stay_id        VARCHAR USING COMPRESSION uncompressed NOT NULL,
    intime            TIMESTAMP NOT NULL,
    outtime           TIMESTAMP NOT NULL,
    arrival_transport VARCHAR,
    disposition       VARCHAR,
    CHECK (outtime >= intime)
);

-- One row an accepted film.
CREATE TABLE image (
    image_id   VARCHAR USING COMPRESSION uncompressed NOT NULL,
    study_id   VARCHAR USING COMPRESSION uncompressed NOT NULL,
    subject_id VARCHAR USING COMPRESSION uncompressed NOT NULL,
    patient_id VARCHAR,      -- the dataset's own patient, where subject_id joins several of them (covid: patient_group)
    path       VARCHAR USING COMPRESSION uncompressed NOT NULL,   -- relative to the root of the dataset
    view       VARCHAR CHECK (view IN ('PA', 'LATERAL', 'AP', 'LL')),
    position   VARCHAR CHECK (position IN ('Erect', 'Recumbent')),
    taken_at   TIMESTAMP,    -- MIMIC: StudyDate + StudyTime, to the millisecond
    taken_on   DATE,         -- its day, also where the time is unknown
    rows       INTEGER,
    columns    INTEGER
);

-- Findings of a study: 1 present, 0 absent, -1 uncertain. A finding that the source leaves blank has no row.
CREATE TABLE label (
    study_id VARCHAR USING COMPRESSION uncompressed NOT NULL,
    finding  VARCHAR NOT NULL,
    value    TINYINT NOT NULL CHECK (value IN (-1, 0, 1))
    -- No primary key: (study_id, finding) is one by construction, and the index over MIMIC's million rows would be most of the file.
);

-- Facts that the dataset states about the person at a film. NULL is unknown, which is not "no". The columns are the
-- features that cohort/features.py declares, in the source's own words.
CREATE TABLE given_feature (
    image_id VARCHAR USING COMPRESSION uncompressed NOT NULL,
    $given_columns
);

-- People of whom a row of patient, admission, icu_stay or ed_stay could not be read: cohort/losses.
CREATE TABLE doubtful (
    subject_id VARCHAR PRIMARY KEY
);

-- Rows of the dataset's files that broke a rule. For every file: rows in the file = accepted + rejected (see source_file).
CREATE TABLE reject (
    file   VARCHAR NOT NULL,
    line   BIGINT NOT NULL,      -- of the first character of the row; the header is line 1
    "column" VARCHAR NOT NULL,   -- '' where the rule is about the whole row
    rule   VARCHAR NOT NULL,
    pseudonym VARCHAR            -- of the row's subject; NULL where the row does not show one
);

CREATE TABLE source_file (
    file     VARCHAR PRIMARY KEY,
    sha256   VARCHAR NOT NULL,
    bytes    BIGINT NOT NULL,
    rows     BIGINT NOT NULL,
    accepted BIGINT NOT NULL,
    rejected BIGINT NOT NULL,
    CHECK (rows = accepted + rejected)
);

-- What `cxrssl sql --tables` shows.
COMMENT ON TABLE patient IS 'Patients of the hospital tables. Empty, as all hospital tables, where a dataset has none.';
COMMENT ON TABLE admission IS 'Admissions to hospital.';
COMMENT ON TABLE icu_stay IS 'Stays in intensive care.';
COMMENT ON TABLE ed_stay IS 'Stays in the emergency department, where the ED module is at hand.';
COMMENT ON TABLE image IS 'One row a film, as the dataset describes it. Most questions are easier to put to the view film.';
COMMENT ON TABLE label IS 'Findings of studies, one row a study and finding. What the dataset does not mention has no row.';
COMMENT ON TABLE given_feature IS 'What the dataset itself says about the person at a film.';
COMMENT ON TABLE doubtful IS 'People with a rejected row in a hospital table: what follows from these is unknown.';
COMMENT ON TABLE reject IS 'Rows of the dataset''s files that broke a rule.';
COMMENT ON TABLE source_file IS 'Files read; of each, rows = accepted + rejected.';
COMMENT ON COLUMN patient.anchor_age IS 'age in anchor_year; 91 stands for every age above 89';
COMMENT ON COLUMN patient.anchor_year IS 'shifted into the future, by patient';
COMMENT ON COLUMN patient.dod IS 'day of death, up to a year after the last discharge';
COMMENT ON COLUMN image.path IS 'relative to the root of the dataset';
COMMENT ON COLUMN image.patient_id IS 'the dataset''s own patient, where subject_id joins several';
COMMENT ON COLUMN label.value IS '1 present, 0 absent, -1 uncertain';
COMMENT ON COLUMN reject.line IS 'the header is line 1';
COMMENT ON COLUMN reject."column" IS 'empty where the rule is about the whole row';
