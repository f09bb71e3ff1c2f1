"""Release check: is every file the one that the publisher shipped, by the publisher's SHA256SUMS.txt?

`listing` reads the checksums, `hashing` the files; `check` compares and publishes; `verified` counts what a cohort may
call verified.
"""
