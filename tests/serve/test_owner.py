"""Signals and the owner's end."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

CODE = """
import sys
from serve.owner import Stop, StopSignal
stop = StopSignal()
if sys.argv[1] != "-":
    stop.follow(int(sys.argv[1]))
try:
    if sys.argv[2] == "armed":
        stop.armed()
    print("up", flush=True)
    stopped = stop.wait(30)
    print("event" if stopped else "timeout", flush=True)
except Stop:
    print("raised", flush=True)
"""


def start(owner: str, phase: str) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", CODE, owner, phase], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(("phase", "said"), [("armed", "event\n"), ("starting", "raised\n")])
def test_a_signal_interrupts_a_start_and_ends_a_service_in_order(
    number: signal.Signals, phase: str, said: str
) -> None:
    process = start("-", phase)
    process.send_signal(number)
    assert process.communicate(timeout=20)[0] == said
    assert process.returncode == 0


def test_the_end_of_the_owner_is_the_end_of_the_service() -> None:
    owner = subprocess.Popen(["sleep", "60"])
    process = start(str(owner.pid), "armed")
    owner.kill()
    owner.wait()
    assert process.communicate(timeout=20)[0] == "event\n"


def test_an_owner_that_does_not_exist_is_refused() -> None:
    from serve.owner import StopSignal
    from serve.settings import ServiceError

    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(ServiceError, match="--owner-pid 4194305: no such process"):
            StopSignal().follow(2**22 + 1)
    finally:
        signal.signal(signal.SIGINT, before[0])
        signal.signal(signal.SIGTERM, before[1])
