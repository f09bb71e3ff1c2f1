"""What would make a number on a test set worthless, looked for in cohorts, runs and evaluations.

`checks` names every leak; `ids`, `values`, `looks`, `pretraining` and `evaluations` look for them with numpy alone, so
that `gate` can stop `pretrain` and `probe`; `database` reads the tables, `everything` all that is published.
"""
