"""Processes of torch that fall silent are noticed, whatever they were at."""

import time

import pytest

from keras_convnextv2.training.distribution import LostProcessError
from keras_convnextv2.training.distribution.heartbeats import Heartbeats

pytestmark = pytest.mark.one_backend


class Work:
    """A collective operation that ends, or fails, after so many waits."""

    def __init__(self, waits, error=None):
        self.waits, self.error = waits, error

    def is_completed(self):
        return self.waits <= 0

    def wait(self, timeout=None):
        self.waits -= 1
        if timeout and self.waits > 0:
            time.sleep(timeout.total_seconds())
            raise RuntimeError("Operation timed out!")
        if self.error:
            raise self.error


@pytest.fixture
def store():
    from torch.distributed import HashStore

    return HashStore()


@pytest.fixture
def begin(store):
    begun = []

    def begin(index, **options):
        begun.append(Heartbeats(store, index, 3, **{"every": 0.02, "silence": 1.0} | options))
        return begun[-1]

    yield begin
    for heartbeats in begun:
        heartbeats.stop()


def test_a_process_that_gives_no_sign_any_more_is_named(begin):
    first, second, third = begin(0), begin(1), begin(2)
    time.sleep(1.5)
    assert first.silent() == [] and third.silent() == []
    second.stop()
    first.wait_for(Work(3))
    with pytest.raises(LostProcessError, match=r"answer \(no sign of process 1 for 1 seconds\)"):
        first.wait_for(Work(1000))


def test_one_that_never_gave_a_sign_is_lost_too(begin):
    with pytest.raises(LostProcessError, match="no sign of processes 1, 2 for 0.3 seconds"):
        begin(0, silence=0.3).wait_for(Work(1000))


def test_the_error_of_an_operation_stays(begin):
    with pytest.raises(RuntimeError, match="Connection closed by peer"):
        begin(0).wait_for(Work(2, RuntimeError("Connection closed by peer")))


def test_where_the_store_is_gone_all_are_silent(begin, store, monkeypatch):
    def gone(key, number):
        raise RuntimeError("Broken pipe")

    first = begin(0, silence=0.3)
    begin(1), begin(2)
    time.sleep(0.2)
    monkeypatch.setattr(first, "_store", type("Gone", (), {"add": staticmethod(gone)}))
    with pytest.raises(LostProcessError, match="no sign of process"):
        first.wait_for(Work(1000))
    time.sleep(0.5)  # they were not heard last at the same moment
    assert first.silent() == [1, 2]
