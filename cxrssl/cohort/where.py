"""The films of a cohort that meet a condition in SQL, asked of its own database, which it cannot change.

In: an open cohort, a condition on the columns of its view `film`. Out: a truth value for each film. Needs DuckDB, so
neither pretraining nor probing imports it: the command line hands over what it found.
Never: a film of which the condition is unknown (NULL); a condition that reaches another file.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from cxrssl.cohort.read import Cohort
from cxrssl.core.artefact import unreplaced
from cxrssl.core.errors import CxrsslError, DataError, SetupError, UsageError

HINT = "columns of the view film: cxrssl sql --tables"


def find_films(cohort: Cohort, condition: str) -> NDArray[np.bool_]:
    """Return whether each film of the cohort meets a condition such as "view IN ('PA', 'AP')", [N].

    Raises: UsageError when it cannot run or is no condition, SetupError where there is no DuckDB to ask.
    """
    try:
        from cxrssl.db import open_database
    except ImportError as error:
        what = "--where asks DuckDB, which is not installed here"
        raise SetupError(what, hint="install duckdb, or leave the condition out") from error
    # The condition has lines of its own, so that a comment at its end hides nothing of the query.
    query = f"SELECT image_id, (\n{condition}\n) FROM film"
    try:
        with unreplaced(cohort.artefact), open_database(cohort.folder / "cohort.duckdb", read_only=True) as database:
            names, rows, _ = database.read(query)
    except UsageError as error:
        raise UsageError(f"--where: {error.what}", error.where, error.hint or HINT) from None
    except DataError as error:  # DuckDB repeats the value that it could not read, of whichever film
        raise DataError("--where: this cannot be computed of each film", error.where, HINT) from None
    except CxrsslError as error:
        error.what = f"--where: {error.what}"
        raise
    if len(names) != 2 or sorted(row[0] for row in rows) != sorted(cohort.image_id.tolist()):
        raise UsageError("--where: this is not one condition on each film", hint=HINT)
    if not all(isinstance(row[1], bool | None) for row in rows):
        raise UsageError("--where: this is no condition, but a value of each film", hint=HINT)
    kept = [image_id for image_id, is_met in rows if is_met]
    return np.isin(cohort.image_id, kept)
