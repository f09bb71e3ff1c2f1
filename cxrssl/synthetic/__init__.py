"""A synthetic hospital in the published layout of MIMIC-IV and MIMIC-CXR-JPG, drawn from a seed.

`hospital` draws patients and tables, `radiograph` draws films; neither imports the other. `archive` and `write` join
them on disk.
"""

from cxrssl.synthetic.archive import FilmAnswer
from cxrssl.synthetic.hospital.findings import LABELS, RISKS
from cxrssl.synthetic.hospital.timeline import PLACEMENTS, place_of
from cxrssl.synthetic.hospital.worlds import Record, parse_record
from cxrssl.synthetic.radiograph.film import FilmKey, draw_film
from cxrssl.synthetic.write import HospitalSpec, HospitalSummary, write_films_for, write_hospital

__all__ = [
    "LABELS",
    "PLACEMENTS",
    "RISKS",
    "FilmAnswer",
    "FilmKey",
    "HospitalSpec",
    "HospitalSummary",
    "Record",
    "draw_film",
    "parse_record",
    "place_of",
    "write_films_for",
    "write_hospital",
]
