-- The cohort made from the source tables: which stay a film belongs to, what is known about the person, which split.
-- Filled by cohort/link and cohort/split. The views at the end are for people.

-- The rules are in cohort/link.py. One row a film of a dataset with hospital tables, none otherwise.
CREATE TABLE link (
    image_id     VARCHAR PRIMARY KEY REFERENCES image (image_id),
    hadm_id      VARCHAR,
    stay_id      VARCHAR,
    link_status  VARCHAR NOT NULL CHECK (link_status IN (
        'in_icu', 'in_stay', 'in_ed', 'pre_admission', 'post_discharge', 'no_admission', 'ambiguous', 'bad_time')),
    gap_h        DOUBLE CHECK (gap_h >= 0),   -- hours to the nearest admission, 0 inside one, NULL where there is none
    num_covering INTEGER NOT NULL             -- intervals of the deciding kind that contain the film
);

-- NULL is unknown, which is not "no": a film outside any stay has no mortality, not 'alive'.
CREATE TABLE ehr (
    image_id        VARCHAR PRIMARY KEY REFERENCES image (image_id),
    sex             VARCHAR CHECK (sex IN ('male', 'female')),
    age_y           DOUBLE,
    age_is_censored BOOLEAN NOT NULL,
    view            VARCHAR CHECK (view IN ('PA', 'LATERAL', 'AP', 'LL')),
    position        VARCHAR CHECK (position IN ('Erect', 'Recumbent')),
    icu             VARCHAR CHECK (icu IN ('icu', 'not_icu')),
    mortality       VARCHAR CHECK (mortality IN ('alive', 'died'))   -- an outcome, known after the film
);

-- The key makes a subject in two splits of one scheme impossible.
CREATE TABLE split (
    scheme     VARCHAR NOT NULL CHECK (scheme IN ('official', 'hash')),
    subject_id VARCHAR NOT NULL,
    split      VARCHAR NOT NULL CHECK (split IN ('train', 'val', 'test')),
    PRIMARY KEY (scheme, subject_id)
);

-- How many films each rule left, in the order of the rules.
CREATE TABLE flow (
    step  INTEGER PRIMARY KEY,
    what  VARCHAR NOT NULL,
    films BIGINT NOT NULL
);

CREATE VIEW film AS
SELECT
    image.image_id, image.study_id, image.subject_id, image.path, image.taken_at,
    ehr.sex, ehr.age_y, ehr.age_is_censored, ehr.view, ehr.position, ehr.icu, ehr.mortality,
    link.link_status, link.hadm_id, link.stay_id, link.gap_h,
    official.split AS split_official, hashed.split AS split_hash
FROM image
JOIN ehr USING (image_id)
LEFT JOIN link USING (image_id)
LEFT JOIN split AS official ON official.scheme = 'official' AND official.subject_id = image.subject_id
LEFT JOIN split AS hashed ON hashed.scheme = 'hash' AND hashed.subject_id = image.subject_id;

CREATE VIEW link_count AS
SELECT link_status, count(*) AS films, count(DISTINCT subject_id) AS subjects
FROM film WHERE link_status IS NOT NULL GROUP BY link_status ORDER BY films DESC, link_status;

CREATE VIEW missing_count AS
SELECT count(*) AS films, count_if(sex IS NULL) AS sex, count_if(age_y IS NULL) AS age, count_if(view IS NULL) AS "view",
    count_if(position IS NULL) AS "position", count_if(icu IS NULL) AS icu, count_if(mortality IS NULL) AS mortality
FROM ehr;

CREATE VIEW split_count AS
SELECT scheme, split.split, count(DISTINCT subject_id) AS subjects, count(image_id) AS films
FROM split JOIN image USING (subject_id) GROUP BY scheme, split.split ORDER BY scheme, split.split;

CREATE VIEW label_count AS
SELECT finding, count_if(value = 1) AS present, count_if(value = 0) AS absent, count_if(value = -1) AS uncertain
FROM label GROUP BY finding ORDER BY finding;

CREATE VIEW reject_count AS
SELECT file, "column", rule, count(*) AS rows, min(line) AS first_line
FROM reject GROUP BY file, "column", rule ORDER BY file, rows DESC, rule;
