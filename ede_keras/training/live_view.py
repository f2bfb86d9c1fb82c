"""Pictures and values of a training run for TensorBoard."""

from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ede_keras.models.ede import EDE

N_SHOWN = 8


class LiveView(keras.callbacks.Callback):
    """Logs how training affects held-out normal images, in addition to TensorBoard's own losses.

    These are the weight of phase 1; the losses of the two phases, Equations (1) to (3); a
    histogram of each term of the score; and pictures: for each image a row of x, x1, x2, x2' and
    |x - x2|, fewer for a variant with fewer networks.

    Needs the package tensorboard.

    Args:
        log_dir: Folder of the logs.
        images: Held-out normal images as in `fit`. The first ones are shown in the pictures.
        every: Epochs between pictures and histograms.
    """

    def __init__(self, log_dir: str | Path, images: np.ndarray, every: int = 2):
        super().__init__()
        self.writer = tf.summary.create_file_writer(str(log_dir))
        self.images = images
        self.every = every

    def on_epoch_end(self, epoch, logs=None):
        with self.writer.as_default(step=epoch):
            tf.summary.scalar("phase_weight", self.model.phase_weight)
            if epoch % self.every == 0:
                # A backbone would take much memory for all images at once.
                seen = self.model.extract_features(self.images)
                self._write_phases(seen)
                for name, term in self.model.compute_terms(seen).items():
                    if term.any():  # distances to normal codes are 0 before `calibrate`
                        tf.summary.histogram(f"held_out/{name}", term)
                if self.model.graph.reconstruction is not None:
                    tf.summary.image("regenerated", draw_grid(self.model, self.images[:N_SHOWN]))
        self.writer.flush()

    def _write_phases(self, seen):
        x = self.model.prepare(seen)
        reconstructions, adversarial = self.model.objectives(x, training=False)
        for i, loss in enumerate(reconstructions):
            tf.summary.scalar(f"held_out/phase1_ede{i + 1}", loss)
        if self.model.has_phase2:
            tf.summary.scalar("held_out/phase2", adversarial)


def draw_grid(model: EDE, images: np.ndarray) -> np.ndarray:
    """The rows of pictures as one image, float32 `(1, height, width, channels)` in [0, 1]."""
    x = model.prepare(images)
    z = model.encoder1(x, training=False)
    columns = [x, *(decoder(z, training=False) for decoder in model.decoders)]
    shown = columns[-1]  # the anomaly map is made from it
    if len(model.decoders) == 2:
        columns.append(model.decoder1(model.encoder2(shown, training=False), training=False))
    cells = [(np.asarray(column) + 1) / 2 for column in columns]
    cells.append(np.abs(np.asarray(x - shown)) / 2)
    rows = np.concatenate(cells, axis=2)
    return np.concatenate(rows, axis=0)[None]
