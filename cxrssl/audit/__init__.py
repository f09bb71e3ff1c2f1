"""What would make a number on a test set worthless, looked for in cohorts, runs and evaluations.

`checks` names every leak; `ids`, `values`, `looks`, `pretraining` and `evaluated` look for them with numpy alone, so
that `gate` can stop `pretrain` and `probe`; `database` and `workspace` look at everything that is published.
"""
