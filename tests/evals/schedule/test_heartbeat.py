"""A sign of life is given again and again, also where the database fails for a while, and not by what hangs."""

import threading

import pytest

from evals.database.told import OutOfReach
from evals.schedule.heartbeat import Heartbeat, Pulse


class Said:
    """Counts, and waits for a count."""

    def __init__(self) -> None:
        self.times = 0
        self._changed = threading.Condition()

    def again(self) -> int:
        with self._changed:
            self.times += 1
            self._changed.notify_all()
            return self.times

    def wait_for(self, times: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: self.times >= times, timeout=30)


def test_it_is_said_again_and_again_until_the_end() -> None:
    said = Said()

    def say() -> bool:
        return bool(said.again())

    with Heartbeat(say, 0.001, Pulse(60)) as heartbeat:
        said.wait_for(5)
        assert not heartbeat.lost
    after = said.times
    assert not threading.Event().wait(0.02)
    assert said.times == after


def test_a_database_that_fails_is_asked_again() -> None:
    said = Said()

    def say() -> bool:
        if said.again() < 4:
            raise OutOfReach("gone away")
        return True

    with Heartbeat(say, 0.001, Pulse(60)) as heartbeat:
        said.wait_for(6)
        assert not heartbeat.lost


def test_what_is_said_in_vain_is_lost_and_not_said_again() -> None:
    said = Said()

    def say() -> bool:
        return said.again() < 3

    with Heartbeat(say, 0.001, Pulse(60)) as heartbeat:
        said.wait_for(3)
        while not heartbeat.lost:
            pass
        assert not threading.Event().wait(0.02)
        assert said.times == 3


def test_what_hangs_gives_no_sign_of_life_until_it_goes_on() -> None:
    at, said = [0.0], Said()
    pulse = Pulse(10, clock=lambda: at[0])

    def say() -> bool:
        return bool(said.again())

    with Heartbeat(say, 0.001, pulse):
        said.wait_for(2)
        at[0] = 10.5
        assert pulse.hung
        assert not threading.Event().wait(0.02)  # what had been on its way is through
        hung = said.times
        assert not threading.Event().wait(0.05)
        assert said.times == hung
        pulse.beat()
        assert not pulse.hung
        said.wait_for(hung + 2)


@pytest.mark.parametrize(("seconds", "hung"), [(0, False), (10, False), (10.1, True)])
def test_a_pulse_is_hung_after_so_long(seconds: float, hung: bool) -> None:
    at = [100.0]
    pulse = Pulse(10, clock=lambda: at[0])
    at[0] += seconds
    assert pulse.age == pytest.approx(seconds)
    assert pulse.hung is hung
