"""How often a random test tries: seldom in CI, as often as promised with CXRSSL_FULL=1 (`just fuzz`, `just crash`)."""

import os


def scaled(in_ci: int, in_full: int) -> int:
    """Return how many trials to make."""
    return in_full if os.environ.get("CXRSSL_FULL") else in_ci
