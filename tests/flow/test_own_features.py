"""A feature that a TOML declares, from CSV to model, report, codebook and MEDS, without a line of code."""

from __future__ import annotations

import csv
import gzip
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from cxrssl.cohort.export import export_cohort
from cxrssl.cohort.ingest import IngestOptions
from cxrssl.cohort.own import learn_features
from cxrssl.cohort.read import open_cohort
from cxrssl.core.errors import ConfigError, UsageError
from cxrssl.core.workspace import Workspace
from cxrssl.evaluate.run import probe_run
from cxrssl.ingest import ingest_dataset
from cxrssl.recipe.load import load_recipe
from cxrssl.records.eval_settings import ProbeSettings
from cxrssl.report.write import write_report
from cxrssl.synthetic import HospitalSpec, write_hospital
from cxrssl.synthetic.hospital.tables import write_csv_gz
from cxrssl.train.loop import pretrain
from cxrssl.train.plan import plan_run
from tests.cohort.test_declare import ACUITY, TABLE
from tests.small_runs import CPU, MINUTE, two_layers  # noqa: F401

MINE = (TABLE + ACUITY).replace('"triage"', '"my_triage"')


def write_emergency(ehr_root: Path) -> None:
    """Write an ED module: a visit for each admission that came through the emergency department, acuity 1 to 5."""
    with gzip.open(ehr_root / "hosp" / "admissions.csv.gz", "rt", newline="") as lines:
        rows = [row for row in csv.DictReader(lines) if row["edregtime"]]
    stays, triage = [], []
    for k, row in enumerate(rows):
        ids = (row["subject_id"], f"3{k:07d}")
        stays.append((ids[0], row["hadm_id"], ids[1], row["edregtime"], row["edouttime"], "AMBULANCE", "ADMITTED"))
        triage.append((*ids, k % 6))  # 0 is no acuity
    names = ("subject_id", "hadm_id", "stay_id", "intime", "outtime", "arrival_transport", "disposition")
    write_csv_gz(ehr_root / "ed" / "edstays.csv.gz", names, stays)
    write_csv_gz(ehr_root / "ed" / "triage.csv.gz", ("subject_id", "stay_id", "acuity"), triage)


@pytest.mark.slow
def test_a_feature_of_ones_own_goes_from_csv_to_model_report_and_codebook(tmp_path: Path) -> None:
    workspace = Workspace(tmp_path / "workspace").create()
    hospital = write_hospital(tmp_path / "hospital", HospitalSpec(60, film_px=64))
    write_emergency(hospital.ehr_root)
    own = tmp_path / "mine.toml"
    own.write_text(MINE)
    options = IngestOptions("mimic", tmp_path / "hospital", size_px=48, num_workers=1, features=f"labs,{own}")
    summary, _ = ingest_dataset(workspace, options)
    account = summary.values["measured"]["acuity"]
    assert account["films"] > 10
    assert account["rejected"]["not plausible"] > 0
    assert ingest_dataset(workspace, options)[0].was_current

    cohort = open_cohort(workspace.cohorts / "mimic")
    column = cohort.column_of("acuity")
    values = cohort.ehr_values[:, column]
    assert set(np.unique(values[cohort.ehr_known[:, column]])) <= {1, 2, 3, 4, 5}
    films = pl.read_parquet(cohort.folder / "films.parquet")
    assert films["acuity_age_h"].max() <= 24  # type: ignore[operator]

    recipe = load_recipe("demo", MINUTE, {"ehr": {"features": ["my_triage", "sodium"], "predict": ["creatinine"]}})
    plan = plan_run(workspace, "mimic", recipe, CPU)
    assert plan.ehr_columns == [*("sodium", "acuity", "sodium unknown", "acuity unknown", "sodium age", "acuity age")]
    run = pretrain(plan)
    probe_run(workspace, run.run_id, "mimic", "", ProbeSettings(num_resamples=20))
    assert "my_triage" in write_report(workspace).markdown

    out = export_cohort(workspace, "mimic", "parquet", tmp_path / "tables").path
    codebook = {row["column"]: row for row in pl.read_csv(out / "codebook.csv").iter_rows(named=True)}
    assert codebook["acuity"]["meaning"] == "acuity at triage, 1 to 5"
    assert (codebook["acuity"]["role"], codebook["sodium"]["unit"]) == ("input", "mEq/L")
    assert codebook["acuity_age_h"]["unit"] == "hours"
    meds = export_cohort(workspace, "mimic", "meds", tmp_path / "meds").path
    codes = pl.read_parquet(meds / "metadata" / "codes.parquet")
    described = dict(codes.select("code", "description").iter_rows())
    assert described["MEASURED//my_triage//acuity//UNK"] == "acuity at triage, 1 to 5"

    own.write_text(MINE.replace("[1, 5]", "[0, 5]"))
    other = IngestOptions("mimic", tmp_path / "hospital", name="other", may_pack=False, features=str(own))
    with pytest.raises(ConfigError, match='feature "acuity" is declared otherwise in cohort mimic'):
        ingest_dataset(workspace, other)
    learn_features(workspace.cohorts)  # as every command does
    with pytest.raises(UsageError) as caught:
        cohort.column_of("heart_rate")
    assert caught.value.what == 'cohort "mimic" was made without "heart_rate"'
