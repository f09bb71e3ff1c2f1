"""Where the time of a step goes, from a trace of torch's profiler, in words of the domain.

In: the events of a Chrome trace. Out: a Profile. A kernel belongs to the innermost named span during which it was
launched, by whatever thread: the loop waits while the backward pass launches from a thread of its own.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

WORK = ("kernel", "gpu_memcpy", "gpu_memset")
CALLS = ("cuda_runtime", "cuda_driver")
SYNCS = ("cudaStreamSynchronize", "cudaEventSynchronize", "cudaMemcpy", "cuStreamSynchronize", "cuEventSynchronize")
"""Calls that hold the host until the device is done; cudaDeviceSynchronize is left to those who measure."""
WINDOW = "window"
"""Name of the two marks between which the trace is read."""
NO_SPAN = "other"
GAPS = "gaps"


@dataclass
class Profile:
    """Times are milliseconds a step."""

    step_ms: float
    span_ms: Counter[str] = field(default_factory=Counter)
    """Device time of the kernels of each span; on the CPU its own time. `gaps` is the time without any kernel."""
    num_kernels: Counter[str] = field(default_factory=Counter)
    """Kernels and copies a step."""
    syncs: Counter[str] = field(default_factory=Counter)
    """Host synchronisations a step, by span and call."""
    blocked_ms: float = 0.0
    """Time that the host was held by them: the rest is its own work."""

    def shares(self) -> dict[str, float]:
        """Return each span's share of the step, largest first."""
        return {name: value / self.step_ms for name, value in self.span_ms.most_common()}


def profile_trace(events: Iterable[dict[str, Any]], names: Iterable[str], num_steps: int) -> Profile:
    """Return the profile of the `num_steps` steps between the two marks of a trace."""
    timed = [event for event in events if event.get("ph") == "X" and event.get("cat") != "gpu_user_annotation"]
    first, last = sorted(event["ts"] for event in timed if event["name"] == WINDOW)
    inside = [event for event in timed if first <= event["ts"] < last]
    wanted = set(names)
    spans = _Spans([event for event in inside if event["name"] in wanted])
    profile = Profile((last - first) / 1000 / num_steps)
    calls = [event for event in inside if event.get("cat") in CALLS]
    launched: dict[Any, float] = {event["args"]["correlation"]: event["ts"] for event in calls}
    work = [event for event in inside if event.get("cat") in WORK]
    for event in work:
        span = spans.at(launched.get(event["args"]["correlation"], event["ts"]))
        profile.span_ms[span] += event["dur"]
        profile.num_kernels[span] += 1
    if work:
        profile.span_ms[GAPS] = last - first - _covered([(event["ts"], event["ts"] + event["dur"]) for event in work])
    else:
        profile.span_ms.update(spans.own_times())
        profile.span_ms[NO_SPAN] += last - first - sum(profile.span_ms.values())
    for event in inside:
        if event.get("cat") in CALLS and event["name"] in SYNCS:
            profile.syncs[f"{event['name']} in {spans.at(event['ts'])}"] += 1
            profile.blocked_ms += event["dur"]
    profile.blocked_ms /= 1000 * num_steps
    counters: list[tuple[Any, int]] = [(profile.span_ms, 1000), (profile.num_kernels, 1), (profile.syncs, 1)]
    for counts, unit in counters:
        for name in counts:
            counts[name] /= unit * num_steps
    return profile


class _Spans:
    """Named spans of the host's time, cut where one lies inside another, so that the inner one counts."""

    def __init__(self, events: list[dict[str, Any]]) -> None:
        edges = sorted({edge for event in events for edge in (event["ts"], event["ts"] + event["dur"])})
        self._starts, self._names = edges, [NO_SPAN] * len(edges)
        # The longest first: those inside it are laid over it.
        for event in sorted(events, key=lambda event: -event["dur"]):
            low, high = (bisect_right(edges, at) - 1 for at in (event["ts"], event["ts"] + event["dur"]))
            self._names[low:high] = [event["name"]] * (high - low)

    def at(self, ts: float) -> str:
        """Return the innermost span at a time."""
        place = bisect_right(self._starts, ts) - 1
        return self._names[place] if place >= 0 else NO_SPAN

    def own_times(self) -> Counter[str]:
        """Return the time of each span without that of the spans inside it."""
        times: Counter[str] = Counter()
        for name, low, high in zip(self._names, self._starts, self._starts[1:], strict=False):
            if name != NO_SPAN:
                times[name] += high - low
        return times


def _covered(intervals: list[tuple[float, float]]) -> float:
    """Return the length of the union of intervals."""
    total, end = 0.0, float("-inf")
    for low, high in sorted(intervals):
        total += max(0.0, high - max(low, end))
        end = max(end, high)
    return total
