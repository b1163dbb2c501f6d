import os
import signal
import time

from experiments.errors import ExperimentError
from experiments.workers import Job, Workers, one_line


def double(value: int) -> int:
    return 2 * value


def refuse(value: int) -> int:
    raise ExperimentError(f"{value} is refused;\n try another")


def die(value: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def process(seconds: float) -> int:
    time.sleep(seconds)
    return os.getpid()


def test_a_failure_and_a_death_are_outcomes_and_the_others_go_on() -> None:
    jobs = [Job("refused", refuse, (1,)), Job("dead", die, (1,))]
    jobs += [Job(str(n), double, (n,)) for n in range(6)]
    with Workers(2) as workers:
        found = {outcome.job.name: outcome for outcome in workers.run(jobs)}
        again = [outcome.value for outcome in workers.run([Job("again", double, (21,))])]
    assert found["refused"].error == "1 is refused; try another" and found["refused"].value is None
    assert "status -9" in str(found["dead"].error)
    assert [found[str(n)].value for n in range(6)] == [0, 2, 4, 6, 8, 10]
    assert again == [42]


def test_both_work_at_the_same_time_and_end_when_closed() -> None:
    with Workers(2) as workers:
        pids = {
            outcome.value for outcome in workers.run([Job("a", process, (0.5,)), Job("b", process, (0.5,))])
        }
    assert len(pids) == 2 and os.getpid() not in pids
    for pid in pids:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            continue
        raise AssertionError(f"{pid} still runs")


def test_an_error_of_others_names_its_kind_and_place() -> None:
    try:
        dict[str, int]()["x"]
    except KeyError as error:
        assert one_line(error).startswith("KeyError in test_workers.py:")
