"""Patients, their stays, their studies and findings, as rows of MIMIC-IV tables. Draws no pixel."""
