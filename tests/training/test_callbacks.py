"""What the training command's callbacks do that no run of the command shows."""

import math
import signal
import sys
from types import SimpleNamespace

import keras
import pytest

from ede_keras.errors import InputError
from ede_keras.training.callbacks import CtrlC, EpochCheckpoint, cosine_decay


def test_the_learning_rate_falls_along_a_cosine(build, images):
    """Both optimizers', and from the rate that the epoch has, wherever training begins."""
    model = build(compile_arguments={"optimizer": keras.optimizers.SGD(9.0), "run_eagerly": True})
    schedule = {"callbacks": [cosine_decay(1e-3, epochs=4)], "verbose": 0}
    history = model.fit(images, epochs=4, initial_epoch=1, **schedule).history
    expected = [1e-3 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in (1, 2, 3)]
    assert history["learning_rate"] == pytest.approx(expected)
    assert float(model.ede2_optimizer.learning_rate) == pytest.approx(expected[-1])


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
    # A background job's tests have it ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), CtrlC() as ctrl_c:
            build().fit(images, epochs=3, batch_size=10, callbacks=[counter, ctrl_c], verbose=0)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)
    assert lost == [KeyboardInterrupt]
    assert counter.batches == 2


def test_ctrl_c_that_is_ignored_stays_so():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with CtrlC() as ctrl_c:
            signal.raise_signal(signal.SIGINT)
        assert not ctrl_c.pressed
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_history_is_continued(tmp_path):
    (tmp_path / "history.csv").write_text("epoch,seconds\n1,2.5\n2,1.25\n3,9\n")
    checkpoint = EpochCheckpoint(tmp_path, initial_epoch=2)
    assert [row["epoch"] for row in checkpoint.rows] == ["1", "2"] and checkpoint.seconds == 3.75


def test_what_comes_before_the_first_epoch_counts_to_it(tmp_path):
    checkpoint = EpochCheckpoint(tmp_path, seconds_before=100.0)
    checkpoint.set_model(SimpleNamespace(save=lambda path: path.write_text("")))
    for epoch in range(2):
        checkpoint.on_epoch_begin(epoch)
        checkpoint.on_epoch_end(epoch, {"loss": 1.0})
    first, second = (row["seconds"] for row in checkpoint.rows)
    assert 100 <= first < 110 and second < 10 and checkpoint.seconds == first + second


@pytest.mark.parametrize("content", ["", "epoch,seconds\n1", "epoch,sec\n1,2\n", "\0\n\n,"])
def test_a_damaged_history_is_named(tmp_path, content):
    (tmp_path / "history.csv").write_text(content)
    with pytest.raises(
        InputError, match="history.csv is damaged; delete its folder to start again"
    ):
        EpochCheckpoint(tmp_path, initial_epoch=1)


def test_only_half_written_checkpoints_are_removed(tmp_path):
    """The folder may be the user's own, with hidden files and folders in it."""
    (tmp_path / ".git").mkdir()
    for name in (".gitignore", ".last.123.keras", ".history.123.csv"):
        (tmp_path / name).write_text("x")
    EpochCheckpoint(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".git", ".gitignore"]
