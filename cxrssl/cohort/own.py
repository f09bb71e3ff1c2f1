"""Features of users' own that the cohorts of a workspace were made with.

In: the folder of the cohorts. Out: nothing; cohort/features knows them. Never: an import of features where there are
none, because every command asks, before it has more than a parser.
"""

from __future__ import annotations

import json
from pathlib import Path


def learn_features(cohorts: Path) -> None:
    """Let this process know the features that cohorts declare; a cohort that cannot be read says so when it is opened.

    Raises: ConfigError where two cohorts declare one feature in two ways.
    """
    from cxrssl.core.artefact import MANIFEST

    for manifest in sorted(cohorts.glob(f"*/{MANIFEST}")):
        try:
            text = manifest.read_text(encoding="utf-8")
            values = json.loads(text)["settings"]["declared"] if '"declared"' in text else None
        except (OSError, ValueError, LookupError, TypeError):
            continue
        if values:
            from cxrssl.cohort.features import declare

            declare(values, manifest.parent, manifest.parent.absolute())
