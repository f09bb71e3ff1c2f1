"""What only the tables know: films after death, links that the times forbid, arrays that are not of their database.

In: an open cohort with its cohort.duckdb. Out: results. Needs DuckDB and Polars, so neither pretraining nor probing
imports it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxrssl.audit.checks import Result, pass_check, report_finding, skip_check
from cxrssl.cohort.again import naming_ingest
from cxrssl.cohort.films import collect_films, make_arrays
from cxrssl.cohort.read import Cohort
from cxrssl.cohort.split import Shares, hash_split
from cxrssl.core.artefact import unreplaced
from cxrssl.core.text import count_noun
from cxrssl.db import Database, open_database

DEATH_SQL = """
SELECT image_id FROM image JOIN patient USING (subject_id) LEFT JOIN (
    SELECT subject_id, max(deathtime) AS deathtime FROM admission GROUP BY subject_id
) USING (subject_id)
WHERE taken_at > coalesce(deathtime, dod + INTERVAL 1 DAY) + INTERVAL 1 HOUR ORDER BY image_id
"""
"""A death in hospital has a time, one elsewhere only a day; an hour is for clocks that differ."""
LINK_SQL = """
SELECT image_id FROM link JOIN image USING (image_id)
LEFT JOIN admission ON admission.hadm_id = link.hadm_id LEFT JOIN icu_stay USING (stay_id)
WHERE (link.hadm_id IS NOT NULL AND admission.subject_id IS DISTINCT FROM image.subject_id)
    OR (link.stay_id IS NOT NULL AND icu_stay.subject_id IS DISTINCT FROM image.subject_id)
    OR (link_status = 'in_icu' AND taken_at NOT BETWEEN icu_stay.intime - $day AND icu_stay.outtime + $day)
    OR (link_status = 'in_stay' AND taken_at NOT BETWEEN admittime - $day AND dischtime + $day)
ORDER BY image_id
"""


def audit_database(cohort: Cohort) -> list[Result]:
    """Return what is wrong with the tables of a cohort."""
    path = cohort.folder / "cohort.duckdb"
    with unreplaced(cohort.artefact), naming_ingest(cohort.folder), open_database(path, read_only=True) as database:
        looks = (_find_links_outside, _find_dead, _find_other_splits, _find_other_arrays)
        return [look(cohort, database) for look in looks]


def _find_links_outside(cohort: Cohort, database: Database) -> Result:
    code = "link-outside-stay"
    ((num_linked,),) = database.rows("SELECT count(*) FROM link WHERE hadm_id IS NOT NULL OR stay_id IS NOT NULL")
    if not num_linked:
        return skip_check(code, "the dataset has no stays")
    is_by_day = "day" in str(cohort.summary.get("link_rule", ""))
    sql = LINK_SQL.replace("$day", f"INTERVAL {24 if is_by_day else 0} HOUR")
    rows = _rows_of(cohort, [image_id for (image_id,) in database.rows(sql)])
    compared = f"{count_noun(num_linked, 'link')} with the times of the stay"
    what = f"{count_noun(len(rows), 'film')} linked to a stay of another time or person"
    return report_finding(code, compared, what, rows) if rows else pass_check(code, compared)


def _find_dead(cohort: Cohort, database: Database) -> Result:
    code = "film-after-death"
    ((num_dead,),) = database.rows("SELECT count(*) FROM patient WHERE dod IS NOT NULL")
    if not num_dead:
        return skip_check(code, "the dataset has no dates of death")
    rows = _rows_of(cohort, [image_id for (image_id,) in database.rows(DEATH_SQL)])
    compared = count_noun(num_dead, "death")
    what = f"{count_noun(len(rows), 'film')} taken after the death of the patient"
    return report_finding(code, compared, what, rows) if rows else pass_check(code, compared)


def _find_other_splits(cohort: Cohort, database: Database) -> Result:
    """Split by hash again, by the shares that were recorded."""
    code = "split-changed"
    pairs = dict(database.rows("SELECT subject_id, split FROM split WHERE scheme = 'hash' ORDER BY subject_id"))
    shares = Shares(*cohort.summary["shares"])
    moved = [subject for subject, part in pairs.items() if part != hash_split(cohort.dataset, subject, shares)]
    compared = f"{count_noun(len(pairs), 'subject')} with the rule of the split by hash"
    if not moved:
        return pass_check(code, compared)
    rows = np.flatnonzero(np.isin(cohort.subject_id, moved)).tolist()
    return report_finding(code, compared, f"{count_noun(len(moved), 'subject')} not where the hash puts them", rows)


def _find_other_arrays(cohort: Cohort, database: Database) -> Result:
    """Make the arrays again from the tables and compare them one by one."""
    code, findings = "arrays-differ-from-database", cohort.finding_names.tolist()
    remade = make_arrays(collect_films(database, findings), findings, cohort.measured)
    compared = f"{len(remade)} arrays of {count_noun(len(cohort), 'film')}"
    differing: list[str] = []
    examples: set[int] = set()
    for name, array in remade.items():
        rows = _differing_rows(getattr(cohort, name), array)
        if rows is None or len(rows):
            differing.append(name)
            examples.update(() if rows is None else rows.tolist())
    if not differing:
        return pass_check(code, compared)
    what = f"films.npz and cohort.duckdb differ in {', '.join(differing)}"
    return report_finding(code, compared, what, sorted(examples))


def _differing_rows(published: NDArray[Any], remade: NDArray[Any]) -> NDArray[np.int64] | None:
    """Return the rows in which two arrays differ, None when they are not of one shape and kind."""
    if published.shape != remade.shape or published.dtype.kind != remade.dtype.kind:
        return None
    differs = published != remade
    if remade.dtype.kind == "f":
        differs &= ~(np.isnan(published) & np.isnan(remade))
    # Over all axes but the first: an array without findings cannot be reshaped to a row a film.
    return np.flatnonzero(differs.any(axis=tuple(range(1, differs.ndim)))).astype(np.int64)


def _rows_of(cohort: Cohort, image_ids: list[str]) -> list[int]:
    return np.flatnonzero(np.isin(cohort.image_id, image_ids)).tolist() if image_ids else []
