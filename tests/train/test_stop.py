"""Signals while training: one asks for a stop, the same again ends the process, another one is only noted."""

import os
import signal
import subprocess
import sys

import pytest

from cxrssl.train.stop import catch_signals

TWICE = """
import os, signal, sys
from cxrssl.train.stop import catch_signals
with catch_signals() as request:
    os.kill(os.getpid(), signal.SIGUSR2)
    os.kill(os.getpid(), signal.SIGTERM)
    print("asked", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    print("still here")
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2])
def test_one_signal_asks_for_a_stop_and_the_old_handlers_come_back(number: signal.Signals) -> None:
    old = signal.getsignal(number)
    with catch_signals() as request:
        assert not request
        os.kill(os.getpid(), number)
        assert request.signal is number
    assert signal.getsignal(number) is old


def test_a_warning_before_sigterm_is_no_impatience_but_sigterm_twice_is() -> None:
    done = subprocess.run([sys.executable, "-c", TWICE], capture_output=True, text=True, timeout=600)
    assert done.stdout == "asked\n"
    assert done.returncode == 128 + signal.SIGTERM
