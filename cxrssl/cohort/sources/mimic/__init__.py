"""MIMIC-CXR films (JPG, DICOM or resized) with MIMIC-IV hospital tables and, if available, MIMIC-IV-ED.

In: one folder that holds all of it at any depth, or several. Out: SourceTables. Never: a column found by its position.
Sources: MIT-LCP/mimic-code create.sql (all versions) and create-mimic-cxr-jpg-metadata.ipynb; the MIMIC-IV demo 2.2.
"""

from __future__ import annotations

from cxrssl.cohort.sources.mimic.layout import find, is_here
from cxrssl.cohort.sources.mimic.read import read

__all__ = ["OPTIONS", "find", "is_here", "read"]

OPTIONS: tuple[str, ...] = ("ehr", "films", "labels", "features")
