-- The experiment store: derived from the journals of runs and from published evaluations, rebuilt by `cxrssl report`.
-- No keys and no indexes: DuckDB does not need them to scan, and their replay after a crash is where its open bugs are.

CREATE TABLE run (
    run_id     VARCHAR NOT NULL,
    cohort     VARCHAR NOT NULL,
    dataset    VARCHAR NOT NULL,
    split      VARCHAR NOT NULL,
    backbone   VARCHAR NOT NULL,
    ehr        VARCHAR NOT NULL,   -- feature names joined by comma; empty for vanilla MSN
    seed       BIGINT NOT NULL,
    num_films  BIGINT NOT NULL,    -- films it is pretrained on
    num_steps  BIGINT NOT NULL,
    state      VARCHAR NOT NULL,   -- when the store was built: running stopped died failed finished unseen
    step       BIGINT NOT NULL,    -- steps done
    started_at DOUBLE,             -- Unix seconds of the first start event
    ended_at   DOUBLE
);

CREATE TABLE param (
    run_id VARCHAR NOT NULL,
    key    VARCHAR NOT NULL,       -- section.key of the recipe
    value  VARCHAR NOT NULL        -- as JSON
);

CREATE TABLE metric (
    run_id VARCHAR NOT NULL,
    key    VARCHAR NOT NULL,
    step   BIGINT NOT NULL,
    epoch  DOUBLE,
    ts     DOUBLE,
    value  DOUBLE
);

CREATE TABLE event (
    run_id VARCHAR NOT NULL,
    ts     DOUBLE,
    event  VARCHAR NOT NULL,
    step   BIGINT,
    detail VARCHAR NOT NULL        -- the whole record as JSON
);

CREATE TABLE eval_result (
    eval_id      VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL, -- a run_id, or a baseline
    kind         VARCHAR NOT NULL, -- run random-init ehr-only view-only
    label        VARCHAR NOT NULL,
    cohort       VARCHAR NOT NULL,
    split        VARCHAR NOT NULL,
    finding      VARCHAR NOT NULL, -- "macro" is the mean over the defined findings
    metric       VARCHAR NOT NULL, -- auroc auprc
    value        DOUBLE,           -- NULL: not defined
    lo           DOUBLE,
    hi           DOUBLE,
    num_scored   BIGINT NOT NULL,  -- test films with a label that counts
    num_pos      BIGINT,
    num_subjects BIGINT NOT NULL,
    ci_method    VARCHAR NOT NULL
);

CREATE VIEW macro AS
SELECT candidate_id, kind, cohort, split, metric, value, lo, hi, num_scored AS num_films, num_subjects
FROM eval_result WHERE finding = 'macro' ORDER BY cohort, split, metric, value DESC;
