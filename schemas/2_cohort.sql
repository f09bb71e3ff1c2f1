-- The cohort made from the source tables: the stay that a film belongs to, the health record at the film, the split.
-- Filled by cohort/database. The views at the end are for people.

-- The meaning of the sources' words, from cohort/words.py. A NULL category marks a word that means "unknown".
CREATE TABLE word (
    feature  VARCHAR NOT NULL,
    word     VARCHAR NOT NULL CHECK (word = lower(word)),
    category VARCHAR,
    PRIMARY KEY (feature, word)
);

-- The rules are in cohort/link.py. One row a film of a dataset with hospital tables, none otherwise.
CREATE TABLE link (
    image_id     VARCHAR USING COMPRESSION uncompressed NOT NULL,
    hadm_id      VARCHAR USING COMPRESSION uncompressed,
    stay_id      VARCHAR USING COMPRESSION uncompressed,
    ed_stay_id   VARCHAR USING COMPRESSION uncompressed,
    link_status  VARCHAR NOT NULL CHECK (link_status IN (
        'in_icu', 'in_stay', 'in_ed', 'before_stay', 'pre_admission', 'post_discharge', 'no_admission', 'ambiguous',
        'bad_time', 'rejected_row')),
    gap_h        DOUBLE CHECK (gap_h >= 0),   -- hours to the nearest admission, 0 inside one, NULL where there is none
    num_covering INTEGER NOT NULL             -- intervals of the deciding kind that contain the film
);

-- NULL is unknown, which is not "no": a film outside any stay has no mortality, not 'alive'. The columns are the features
-- that cohort/features.py declares, with words replaced by the categories of `word`.
CREATE TABLE ehr (
    image_id VARCHAR USING COMPRESSION uncompressed NOT NULL,
    $ehr_columns
);

-- Features that were chosen for each film from tables of events, as cohort/features.toml or a file of the user declares
-- them, with the age of each value in hours. Empty where a cohort was made without any.
CREATE TABLE measure (
    image_id VARCHAR USING COMPRESSION uncompressed NOT NULL$measure_columns
);

-- The key makes a subject in two splits of one scheme impossible.
CREATE TABLE split (
    scheme     VARCHAR NOT NULL CHECK (scheme IN ('official', 'hash', 'icu', 'file')),
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
    ehr.* EXCLUDE (image_id),
    ${film_measures}link.link_status, link.hadm_id, link.stay_id, link.ed_stay_id, link.gap_h,
    official.split AS split_official, hashed.split AS split_hash, icu.split AS split_icu, file.split AS split_file
FROM image
JOIN ehr USING (image_id)
${join_measures}LEFT JOIN link USING (image_id)
LEFT JOIN split AS official ON official.scheme = 'official' AND official.subject_id = image.subject_id
LEFT JOIN split AS hashed ON hashed.scheme = 'hash' AND hashed.subject_id = image.subject_id
LEFT JOIN split AS icu ON icu.scheme = 'icu' AND icu.subject_id = image.subject_id
LEFT JOIN split AS file ON file.scheme = 'file' AND file.subject_id = image.subject_id;

CREATE VIEW film_label AS
SELECT film.image_id, film.study_id, film.subject_id, label.finding, label.value,
    film.split_official, film.split_hash, film.split_icu, film.split_file
FROM film JOIN label USING (study_id);

CREATE VIEW link_count AS
SELECT link_status, count(*) AS films, count(DISTINCT subject_id) AS subjects
FROM film WHERE link_status IS NOT NULL GROUP BY link_status ORDER BY films DESC, link_status;

CREATE VIEW missing_count AS
SELECT count(*) AS films,
    $unknown_counts
FROM ehr;

-- Words without a declared category, and how many rows of the sources have them. At films they count as unknown.
CREATE VIEW strange_word AS
WITH said AS (
    $source_words
),
counted AS (SELECT feature, word, count(*) AS rows FROM said WHERE word IS NOT NULL GROUP BY feature, word)
SELECT counted.*
FROM counted ANTI JOIN word ON word.feature = counted.feature AND word.word = lower(trim(counted.word))
ORDER BY feature, rows DESC, counted.word;

-- Stays whose times contradict another table; films link to them all the same. Counted, never corrected.
CREATE VIEW odd_stay AS
SELECT 'ICU stays that begin before their admission' AS what, count(*) AS stays
FROM icu_stay JOIN admission USING (hadm_id) WHERE intime < admittime
UNION ALL SELECT 'ICU stays that end after their admission', count(*)
FROM icu_stay JOIN admission USING (hadm_id) WHERE outtime > dischtime
UNION ALL SELECT 'admissions without emergency times', count(*) FROM admission WHERE edregtime IS NULL
UNION ALL SELECT 'admissions that overlap an earlier one of the person', count_if(admittime <= ended)
FROM (
    SELECT admittime, max(dischtime) OVER (
        PARTITION BY subject_id ORDER BY admittime, hadm_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) AS ended
    FROM admission
)
UNION ALL SELECT 'emergency visits that led to no admission', count(*) FROM ed_stay WHERE hadm_id IS NULL;

CREATE VIEW split_count AS
SELECT scheme, split.split, count(DISTINCT subject_id) AS subjects, count(image_id) AS films
FROM split JOIN image USING (subject_id) GROUP BY scheme, split.split ORDER BY scheme, split.split;

CREATE VIEW label_count AS
SELECT finding, count_if(value = 1) AS present, count_if(value = 0) AS absent, count_if(value = -1) AS uncertain
FROM label GROUP BY finding ORDER BY finding;

CREATE VIEW reject_count AS
SELECT file, "column", rule, count(*) AS rows, min(line) AS first_line
FROM reject GROUP BY file, "column", rule ORDER BY file, rows DESC, rule;

-- What `cxrssl sql --tables` shows; those of film are the codebook of `cxrssl cohort export` too.
COMMENT ON TABLE word IS 'What words of the sources mean; a NULL category is a word that says "unknown".';
COMMENT ON TABLE link IS 'The hospital stay that a film belongs to; empty where a dataset has no hospital tables.';
COMMENT ON TABLE ehr IS 'The health record at a film. NULL is unknown, which is not no.';
COMMENT ON TABLE measure IS 'Features chosen for each film from tables of events, such as laboratory results.';
COMMENT ON TABLE split IS 'The part of each subject, by scheme.';
COMMENT ON TABLE flow IS 'Films left after each rule, in the order of the rules.';
COMMENT ON VIEW film IS 'One row a film: ids, health record, link, splits.';
COMMENT ON VIEW film_label IS 'One row a film and finding: label of its study, with the split.';
COMMENT ON VIEW link_count IS 'Films and subjects by link status.';
COMMENT ON VIEW missing_count IS 'Films where a feature is unknown.';
COMMENT ON VIEW strange_word IS 'Words of the sources that no category is declared for.';
COMMENT ON VIEW odd_stay IS 'Stays that do not lie as they should.';
COMMENT ON VIEW split_count IS 'Films and subjects of each part, by scheme.';
COMMENT ON VIEW label_count IS 'Studies by finding: present, absent, uncertain.';
COMMENT ON VIEW reject_count IS 'Rejected rows by file, column and rule.';
COMMENT ON COLUMN link.num_covering IS 'intervals of the deciding kind that contain the film';
COMMENT ON COLUMN film.image_id IS 'the film';
COMMENT ON COLUMN film.study_id IS 'the study it is part of';
COMMENT ON COLUMN film.subject_id IS 'the person';
COMMENT ON COLUMN film.path IS 'file of the film, relative to the root of the dataset';
COMMENT ON COLUMN film.taken_at IS 'when it was taken; in MIMIC shifted, by patient';
$film_comments
COMMENT ON COLUMN film.age_is_censored IS 'the true age is above 89, age_y is a stand-in';
COMMENT ON COLUMN film.link_status IS 'how the film lies to the stays of the person';
COMMENT ON COLUMN film.hadm_id IS 'the admission it is linked to';
COMMENT ON COLUMN film.stay_id IS 'the ICU stay it is linked to';
COMMENT ON COLUMN film.ed_stay_id IS 'the emergency visit it is linked to';
COMMENT ON COLUMN film.gap_h IS 'time to the nearest admission, 0 inside one';
COMMENT ON COLUMN film.split_official IS 'part in the publisher''s split';
COMMENT ON COLUMN film.split_hash IS 'part in the split by a hash of the subject';
COMMENT ON COLUMN film.split_icu IS 'part in the split that tests only people with an ICU stay';
COMMENT ON COLUMN film.split_file IS 'part in the user''s own split';
