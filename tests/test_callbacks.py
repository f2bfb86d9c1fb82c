"""What the training command's callbacks do that no run of the command shows."""

import signal
import sys

import keras
import pytest

from ede_keras.callbacks import CtrlC


class PressCtrlC:
    def __del__(self):
        signal.raise_signal(signal.SIGINT)


class LoseIt(keras.callbacks.Callback):
    """Presses Ctrl-C in a destructor, where Python ignores the exception."""

    batches = 0

    def on_train_batch_begin(self, batch, logs=None):
        self.batches += 1
        if self.batches == 2:
            PressCtrlC()


def test_ctrl_c_that_python_lost_ends_training(build, images, monkeypatch):
    lost = []
    monkeypatch.setattr(sys, "unraisablehook", lambda hook: lost.append(hook.exc_type))
    counter = LoseIt()
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), CtrlC() as ctrl_c:
        build().fit(images, epochs=3, batch_size=10, callbacks=[counter, ctrl_c], verbose=0)
    assert lost == [KeyboardInterrupt]
    assert counter.batches == 2
    assert signal.getsignal(signal.SIGINT) is before


def test_ctrl_c_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with CtrlC() as ctrl_c:
            signal.raise_signal(signal.SIGINT)
        assert not ctrl_c.pressed
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
