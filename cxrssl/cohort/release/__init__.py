"""Release check: is every file as the publisher shipped it, according to the publisher's SHA256SUMS.txt?

`listing` reads the checksums, `hashing` the files; `check` compares and publishes; `verified` counts the verified files
of a cohort.
"""
