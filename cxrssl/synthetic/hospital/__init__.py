"""Patients, their stays, the studies taken of them and what these show, as rows of MIMIC-IV tables. Draws no pixel."""
