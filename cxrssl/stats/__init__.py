"""Every number that is computed from scores and labels, with numpy alone.

`metrics`: AUROC and average precision; `resample`: draws of whole subjects and their intervals; `scores`: both
together, of one model or of the difference of two.
"""
