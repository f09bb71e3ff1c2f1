-- The experiment store: derived from the journals of runs and from what is published, folded by whoever reads it;
-- `cxrssl db rebuild` makes it from nothing.
-- No keys and no indexes: DuckDB does not need them to scan, and their replay after a crash is where its open bugs are.

CREATE TABLE run (
    run_id     VARCHAR NOT NULL,
    cohort     VARCHAR NOT NULL,
    dataset    VARCHAR NOT NULL,
    split      VARCHAR NOT NULL,
    backbone   VARCHAR NOT NULL,
    ehr        VARCHAR NOT NULL,   -- feature names joined by comma; empty for vanilla MSN
    seed       BIGINT,             -- NULL: run.json does not say
    num_films  BIGINT NOT NULL,    -- films it is pretrained on
    num_steps  BIGINT NOT NULL,
    state      VARCHAR NOT NULL,   -- when the store was built: running stopped died failed finished unseen
    step       BIGINT NOT NULL,    -- steps done
    started_at DOUBLE,             -- Unix seconds of the first start event
    ended_at   DOUBLE,
    objective  VARCHAR NOT NULL,
    device     VARCHAR NOT NULL,   -- of its first start; empty where run.json does not say
    started_from VARCHAR NOT NULL, -- name@hash of the weights, as model.init; empty for weights that were drawn
    tags       VARCHAR NOT NULL,   -- joined by comma
    note       VARCHAR NOT NULL,
    is_archived BOOLEAN NOT NULL
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

CREATE TABLE summary (
    run_id     VARCHAR NOT NULL,
    key        VARCHAR NOT NULL,
    num_values BIGINT NOT NULL,
    first_step BIGINT NOT NULL,
    last_step  BIGINT NOT NULL,
    last       DOUBLE,             -- value at last_step
    lowest     DOUBLE,             -- NULL: none is finite
    highest    DOUBLE
);

CREATE TABLE event (
    run_id VARCHAR NOT NULL,
    ts     DOUBLE,
    event  VARCHAR NOT NULL,
    step   BIGINT,
    detail VARCHAR NOT NULL        -- the whole record as JSON
);

CREATE TABLE machine (
    run_id  VARCHAR NOT NULL,
    ts      DOUBLE,
    step    BIGINT,                -- that it started or resumed at
    host    VARCHAR,
    boot    VARCHAR,               -- beginning of the id that the kernel took when it was started
    device  VARCHAR,
    pid     BIGINT,
    num_processes BIGINT,
    num_threads   BIGINT,
    is_compiled   BOOLEAN
);

CREATE TABLE evaluation (
    eval_id      VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL, -- a run_id, or a baseline
    kind         VARCHAR NOT NULL,
    label        VARCHAR NOT NULL,
    cohort       VARCHAR NOT NULL,
    split        VARCHAR NOT NULL,
    dataset      VARCHAR NOT NULL, -- empty: of an older version
    run_id       VARCHAR,          -- NULL: of no run
    group_id     VARCHAR NOT NULL, -- empty for a share of the labels
    folds        BIGINT NOT NULL,  -- 0: the test films of the split
    fraction     DOUBLE,           -- share of the train subjects that were fitted on; NULL: all
    draw         BIGINT,
    asked        VARCHAR NOT NULL, -- empty: all findings of all films
    is_outcome_used BOOLEAN NOT NULL,
    leak         VARCHAR NOT NULL, -- what the candidate has seen of the test films, in words
    num_films    BIGINT NOT NULL,
    num_subjects BIGINT NOT NULL,
    auroc        DOUBLE,           -- mean over the defined findings
    auprc        DOUBLE,
    content_sha256 VARCHAR NOT NULL
);

CREATE TABLE eval_result (
    eval_id      VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL, -- a run_id, or a baseline
    kind         VARCHAR NOT NULL, -- run head external joined random-init pixels ehr-only view-only
    label        VARCHAR NOT NULL,
    cohort       VARCHAR NOT NULL,
    split        VARCHAR NOT NULL,
    seed         BIGINT,           -- NULL: it has none
    control      VARCHAR,          -- none shuffled shuffled:GROUP zeros noise; NULL: no run, or one that is not known
    group_id     VARCHAR NOT NULL, -- equal for evaluations that differ in the seed alone
    finding      VARCHAR NOT NULL, -- "macro" is the mean over the defined findings
    metric       VARCHAR NOT NULL, -- auroc auprc
    value        DOUBLE,           -- NULL: not defined
    lo           DOUBLE,
    hi           DOUBLE,
    mark         VARCHAR NOT NULL, -- few, no interval, not defined, or empty
    num_defined  BIGINT NOT NULL,  -- resamples in which it is defined
    num_resamples BIGINT NOT NULL,
    num_scored   BIGINT NOT NULL,  -- test films with a label that counts
    num_pos      BIGINT,
    num_pos_subjects BIGINT,       -- subjects with a film that has the finding
    num_neg_subjects BIGINT,       -- subjects with a film that has not
    num_subjects BIGINT NOT NULL,
    ci_method    VARCHAR NOT NULL  -- of its interval; empty for a number without one
);

CREATE TABLE matched (
    eval_id      VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL, -- a run_id, or a baseline
    kind         VARCHAR NOT NULL,
    label        VARCHAR NOT NULL,
    cohort       VARCHAR NOT NULL,
    split        VARCHAR NOT NULL,
    matched_on   VARCHAR NOT NULL, -- features of the record, joined by +
    finding      VARCHAR NOT NULL, -- "macro" is the mean over the findings whose match is not vacuous
    value        DOUBLE,           -- AUROC over pairs of films that are alike; NULL: not defined, or vacuous
    lo           DOUBLE,
    hi           DOUBLE,
    mark         VARCHAR NOT NULL,
    num_defined  BIGINT NOT NULL,
    num_resamples BIGINT NOT NULL,
    ci_method    VARCHAR NOT NULL, -- of its interval; empty for a number without one
    is_vacuous   BOOLEAN,          -- too few pairs are alike for a number; NULL for "macro"
    share_pairs  DOUBLE,           -- of all pairs, those of films alike
    kept_of_expected DOUBLE        -- share_pairs in that of a finding that has nothing to do with what is matched on
);

CREATE TABLE subgroup (
    eval_id      VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL, -- a run_id, or a baseline
    kind         VARCHAR NOT NULL,
    label        VARCHAR NOT NULL,
    cohort       VARCHAR NOT NULL,
    split        VARCHAR NOT NULL,
    attribute    VARCHAR NOT NULL, -- sex age view race insurance
    subgroup     VARCHAR NOT NULL, -- a word of it, or an age band
    finding      VARCHAR NOT NULL, -- "macro" is the mean over the findings that are defined in both
    metric       VARCHAR NOT NULL, -- auroc: among its films; gap: minus that among all other films whose group is known
    value        DOUBLE,           -- NULL: not defined
    lo           DOUBLE,
    hi           DOUBLE,
    mark         VARCHAR NOT NULL,
    num_defined  BIGINT NOT NULL,
    num_resamples BIGINT NOT NULL,
    num_films    BIGINT NOT NULL,
    num_subjects BIGINT NOT NULL,  -- of the group; small ones are here, and not in a report
    num_pos_subjects BIGINT,
    num_neg_subjects BIGINT,
    ci_method    VARCHAR NOT NULL  -- of its interval; empty for a number without one
);

CREATE TABLE decoding (
    eval_id      VARCHAR NOT NULL,
    candidate_id VARCHAR NOT NULL, -- a run_id, or a baseline
    label        VARCHAR NOT NULL,
    cohort       VARCHAR NOT NULL,
    split        VARCHAR NOT NULL,
    feature      VARCHAR NOT NULL, -- of the record; "features on record": the other way round
    metric       VARCHAR NOT NULL, -- AUROC, macro AUROC, R2
    value        DOUBLE,
    lo           DOUBLE,
    hi           DOUBLE,
    mark         VARCHAR NOT NULL,
    num_defined  BIGINT NOT NULL,
    num_resamples BIGINT NOT NULL,
    num_films    BIGINT NOT NULL,  -- scored films of which it is known
    num_subjects BIGINT NOT NULL,
    ci_method    VARCHAR NOT NULL  -- of its interval; empty for a number without one
);

CREATE TABLE comparison (
    comparison_id        VARCHAR NOT NULL,
    eval_id              VARCHAR NOT NULL,
    against_id           VARCHAR NOT NULL, -- the evaluation that is subtracted
    candidate_id         VARCHAR NOT NULL,
    against_candidate_id VARCHAR NOT NULL,
    finding              VARCHAR NOT NULL, -- "macro" is the mean over the defined findings
    metric               VARCHAR NOT NULL, -- auroc auprc
    value                DOUBLE,           -- of eval_id minus that of against_id; NULL: not defined
    lo                   DOUBLE,
    hi                   DOUBLE,
    mark                 VARCHAR NOT NULL,
    num_defined          BIGINT NOT NULL,
    num_resamples        BIGINT NOT NULL,
    num_scored           BIGINT NOT NULL,
    num_pos              BIGINT,
    num_pos_subjects     BIGINT,
    num_neg_subjects     BIGINT,
    num_subjects         BIGINT NOT NULL,
    ci_method            VARCHAR NOT NULL, -- of its interval; empty for a number without one
    p                    DOUBLE,           -- two-sided, of no difference; NULL: no interval
    p_holm               DOUBLE            -- adjusted for the findings of this comparison and metric; NULL for "macro"
);

CREATE TABLE seed_mean (
    group_id      VARCHAR NOT NULL,
    label         VARCHAR NOT NULL,
    kind          VARCHAR NOT NULL,
    cohort        VARCHAR NOT NULL,
    split         VARCHAR NOT NULL,
    control       VARCHAR,
    seeds         VARCHAR NOT NULL, -- joined by comma
    against       VARCHAR NOT NULL, -- what is subtracted: untrained, vanilla, pixels, a control, "baseline NAME"; or empty
    finding       VARCHAR NOT NULL, -- "macro" is the mean over the defined findings
    metric        VARCHAR NOT NULL, -- auroc auprc
    value         DOUBLE,           -- mean over the seeds; NULL: not defined
    lo            DOUBLE,
    hi            DOUBLE,
    mark          VARCHAR NOT NULL,
    num_seeds     BIGINT NOT NULL,  -- 1: the interval is of the subjects alone
    sd_seeds      DOUBLE,
    se_subjects   DOUBLE,
    is_paired     BOOLEAN NOT NULL, -- every seed was compared with itself
    by_seed       VARCHAR NOT NULL, -- joined by comma
    num_defined   BIGINT NOT NULL,
    num_resamples BIGINT NOT NULL,
    ci_method     VARCHAR NOT NULL, -- of its interval; empty for a number without one
    p             DOUBLE,           -- of a difference, two-sided; NULL: no interval
    p_holm        DOUBLE            -- adjusted for the findings of this difference and metric; NULL for "macro"
);

CREATE TABLE ablation (
    name      VARCHAR NOT NULL,
    arm       VARCHAR NOT NULL,
    against   VARCHAR NOT NULL,    -- the arm that is subtracted; empty for a score
    why       VARCHAR NOT NULL,    -- score primary baseline control untrained
    cohort    VARCHAR NOT NULL,
    metric    VARCHAR NOT NULL,    -- auroc auprc
    value     DOUBLE,              -- mean over the seeds; NULL: not defined
    lo        DOUBLE,
    hi        DOUBLE,
    sd_seeds  DOUBLE,
    mark      VARCHAR NOT NULL,
    num_seeds BIGINT NOT NULL,
    p         DOUBLE,              -- of a difference, two-sided
    p_holm    DOUBLE               -- adjusted for all differences but the primary one; NULL for that
);

CREATE TABLE artefact (
    kind      VARCHAR NOT NULL,    -- cohort encoder evaluation comparison group ablation
    name      VARCHAR NOT NULL,    -- of the folder; of an encoder its run
    path      VARCHAR NOT NULL,    -- below the workspace
    num_files BIGINT NOT NULL,
    num_bytes BIGINT NOT NULL
);

CREATE TABLE damage (
    kind VARCHAR NOT NULL,         -- run evaluation comparison group
    name VARCHAR NOT NULL,         -- of the folder
    what VARCHAR NOT NULL
);

CREATE TABLE imported (
    kind    VARCHAR NOT NULL,      -- run evaluation
    name    VARCHAR NOT NULL,      -- of the folder
    archive VARCHAR NOT NULL,      -- SHA-256 of the archive that it came in
    hidden  VARCHAR NOT NULL,      -- findings that were left out, joined by comma
    features VARCHAR NOT NULL,     -- of the record, left out of what was decoded
    counts  VARCHAR NOT NULL       -- tens: rounded down; or empty
);

CREATE TABLE source (
    kind     VARCHAR NOT NULL,     -- run evaluation comparison group cohort; store: this file itself
    name     VARCHAR NOT NULL,     -- of the folder
    identity VARCHAR NOT NULL      -- a hash over names, times, sizes and inodes of its files; empty: just written then
);

CREATE TABLE journal (
    run_id     VARCHAR NOT NULL,
    name       VARCHAR NOT NULL,   -- of the file
    num_bytes  BIGINT NOT NULL,    -- of it that are in this store
    checksum   BIGINT NOT NULL,    -- CRC-32 of these bytes
    first_step BIGINT NOT NULL,    -- -1: none
    last_step  BIGINT NOT NULL
);

CREATE VIEW macro AS
SELECT candidate_id, kind, cohort, split, metric, value, lo, hi, mark, num_scored AS num_films, num_subjects,
    seed, control, group_id
FROM eval_result WHERE finding = 'macro' ORDER BY cohort, split, metric, value DESC;

CREATE VIEW matched_macro AS
SELECT label, cohort, split, matched_on, auroc.value AS auroc, alike.auroc AS auroc_of_matched, matched.value AS matched,
    matched.lo, matched.hi, matched.mark, num_matched, num_vacuous, candidate_id, eval_id
FROM matched JOIN eval_result AS auroc USING (eval_id, candidate_id, kind, label, cohort, split, finding)
JOIN (SELECT eval_id, count(*) FILTER (is_vacuous) AS num_vacuous,
        count(*) FILTER (NOT is_vacuous AND matched.value IS NOT NULL) AS num_matched,
        avg(plain.value) FILTER (NOT is_vacuous AND matched.value IS NOT NULL) AS auroc
    FROM matched JOIN eval_result AS plain USING (eval_id, finding) WHERE plain.metric = 'auroc' GROUP BY eval_id
) AS alike USING (eval_id)
WHERE finding = 'macro' AND auroc.metric = 'auroc' ORDER BY cohort, split, matched DESC NULLS LAST, eval_id;

CREATE VIEW subgroup_gap AS
SELECT label, cohort, split, attribute, subgroup, num_subjects, auroc.value AS auroc, gap.value AS gap, gap.lo, gap.hi,
    gap.mark, candidate_id, eval_id
FROM subgroup AS gap JOIN subgroup AS auroc
    USING (eval_id, candidate_id, label, cohort, split, attribute, subgroup, finding, num_subjects)
WHERE finding = 'macro' AND gap.metric = 'gap' AND auroc.metric = 'auroc'
ORDER BY cohort, split, label, eval_id, attribute, subgroup;

CREATE VIEW run_score AS
SELECT run.run_id, state, backbone, ehr, seed, step, evaluation.cohort, evaluation.split, auroc, auprc, tags
FROM run LEFT JOIN evaluation ON evaluation.run_id = run.run_id AND fraction IS NULL AND asked = ''
ORDER BY auroc DESC NULLS LAST, run.run_id;

CREATE VIEW differing_param AS
SELECT key, run_id, value FROM param
WHERE key IN (SELECT key FROM param GROUP BY key HAVING count(DISTINCT value) > 1 OR count(*) < (SELECT count(*) FROM run))
ORDER BY key, run_id;

-- What `cxrssl sql --results --tables` shows.
COMMENT ON TABLE run IS 'Pretraining runs, as they stood when the store was built.';
COMMENT ON TABLE param IS 'Settings of runs, one row a setting.';
COMMENT ON TABLE metric IS 'What runs logged, one row a step and metric.';
COMMENT ON TABLE summary IS 'What runs logged, one row a run and metric: last, lowest, highest.';
COMMENT ON TABLE machine IS 'Where runs were started and resumed, one row a start.';
COMMENT ON TABLE evaluation IS 'Evaluations, points of learning curves among them, one row each.';
COMMENT ON TABLE ablation IS 'Tables of ablations: scores of arms and their differences, one row a metric.';
COMMENT ON TABLE artefact IS 'What is published, with the place that it takes on the disk.';
COMMENT ON TABLE journal IS 'How far the files of runs are read.';
COMMENT ON TABLE event IS 'What happened to runs: starts, stops, alarms, failures.';
COMMENT ON TABLE eval_result IS 'Scores of probed runs and baselines, one row a finding and metric, with intervals.';
COMMENT ON TABLE matched IS 'AUROC over pairs of films alike in view, sex and age band, one row a finding.';
COMMENT ON TABLE subgroup IS 'AUROC in groups of people and its gap to the rest, one row a finding and metric.';
COMMENT ON TABLE decoding IS 'What of the record is linearly decodable from frozen features, one row a feature.';
COMMENT ON TABLE comparison IS 'Paired differences of two evaluations, one row a finding and metric, with intervals.';
COMMENT ON TABLE seed_mean IS 'Means over the seeds of one setup, and their differences, one row a finding and metric.';
COMMENT ON TABLE damage IS 'Runs, evaluations, comparisons and groups that could not be read, or not in full, and why.';
COMMENT ON TABLE imported IS 'Runs and evaluations that came in an archive, and what that left out.';
COMMENT ON TABLE source IS 'The folders that the store was made from, as they lay: one that has changed is read again.';
COMMENT ON VIEW run_score IS 'Runs with the means over findings of their evaluations.';
COMMENT ON VIEW differing_param IS 'Settings in which runs differ.';
COMMENT ON VIEW matched_macro IS 'Means over findings, and over pairs of alike films; auroc_of_matched is of the same findings as matched.';
COMMENT ON VIEW subgroup_gap IS 'Means over findings in each group of people, with the gap to the rest.';
COMMENT ON VIEW macro IS 'Scores as means over findings.';
COMMENT ON COLUMN run.ehr IS 'features, joined by comma; empty for vanilla MSN';
COMMENT ON COLUMN run.started_at IS 'Unix seconds';
COMMENT ON COLUMN run.ended_at IS 'Unix seconds';
COMMENT ON COLUMN run.started_from IS 'name@hash of the weights; empty for weights that were drawn';
COMMENT ON COLUMN run.tags IS 'joined by comma';
COMMENT ON COLUMN summary.last IS 'value at last_step';
COMMENT ON COLUMN summary.lowest IS 'of the finite values';
COMMENT ON COLUMN machine.step IS 'that it started or resumed at';
COMMENT ON COLUMN evaluation.run_id IS 'NULL: of no run';
COMMENT ON COLUMN evaluation.fraction IS 'share of the train subjects that were fitted on; NULL: all';
COMMENT ON COLUMN evaluation.leak IS 'what the candidate has seen of the test films';
COMMENT ON COLUMN ablation.against IS 'the arm that is subtracted; empty for a score';
COMMENT ON COLUMN ablation.why IS 'score, primary, baseline, control or untrained';
COMMENT ON COLUMN ablation.p_holm IS 'adjusted for all differences but the primary one';
COMMENT ON COLUMN artefact.path IS 'below the workspace';
COMMENT ON COLUMN journal.num_bytes IS 'of the file, that are in this store';
COMMENT ON COLUMN param.value IS 'as JSON';
COMMENT ON COLUMN event.detail IS 'the whole record as JSON';
COMMENT ON COLUMN eval_result.candidate_id IS 'a run_id, or a baseline';
COMMENT ON COLUMN eval_result.finding IS 'macro is the mean over the defined findings';
COMMENT ON COLUMN eval_result.value IS 'NULL: not defined';
COMMENT ON COLUMN eval_result.mark IS 'few: fewer than 10 subjects of a class; no interval; not defined; or empty';
COMMENT ON COLUMN eval_result.num_defined IS 'resamples in which it is defined';
COMMENT ON COLUMN eval_result.num_pos_subjects IS 'subjects with a film that has the finding';
COMMENT ON COLUMN eval_result.num_neg_subjects IS 'subjects with a film that has not';
COMMENT ON COLUMN eval_result.num_scored IS 'test films with a label that counts';
COMMENT ON COLUMN eval_result.seed IS 'of the run or the untrained encoder; NULL: it has none';
COMMENT ON COLUMN eval_result.control IS 'how the record is wrong, or none; NULL: not known';
COMMENT ON COLUMN eval_result.group_id IS 'equal for evaluations that differ in the seed alone';
COMMENT ON COLUMN matched.value IS 'NULL: not defined, or vacuous';
COMMENT ON COLUMN matched.is_vacuous IS 'too few pairs are alike for a number; NULL for macro';
COMMENT ON COLUMN matched.kept_of_expected IS 'share_pairs in that of a finding that has nothing to do with matched_on';
COMMENT ON COLUMN subgroup.metric IS 'auroc; gap: minus that among all other films whose group is known';
COMMENT ON COLUMN subgroup.num_subjects IS 'small groups are here, and not in a report';
COMMENT ON COLUMN seed_mean.against IS 'untrained, vanilla, pixels, a control or "baseline NAME"; empty for scores';
COMMENT ON COLUMN seed_mean.value IS 'mean over the seeds; NULL: not defined';
COMMENT ON COLUMN seed_mean.num_seeds IS '1: the interval is of the subjects alone, and says nothing about the method';
COMMENT ON COLUMN seed_mean.by_seed IS 'in the order of seeds; empty where they are not paired';
COMMENT ON COLUMN comparison.against_id IS 'the evaluation that is subtracted';
COMMENT ON COLUMN comparison.finding IS 'macro is the mean over the defined findings';
COMMENT ON COLUMN comparison.mark IS 'few: fewer than 10 subjects of a class; no interval; not defined; or empty';
COMMENT ON COLUMN comparison.value IS 'of eval_id minus that of against_id; NULL: not defined';
