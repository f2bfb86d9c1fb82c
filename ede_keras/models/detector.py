"""What one does with a trained model: calibrate it, score images, decide (Section 3.3.4)."""

import warnings

import keras
import numpy as np

from ede_keras.errors import InputError
from ede_keras.layers.anomaly_score import normal_quantile
from ede_keras.models import diagnosis
from ede_keras.utils import pipeline, validation


class AnomalyDetector(keras.Model):
    """The scoring half of `EDE` and its variants.

    A subclass is a functional model from images to `score`, `label` and `anomaly_map`. It has the
    attributes `image_shape`, `image_size`, `contamination`, `memory_size`, the layers
    `anomaly_score` and `views` (None without a pretext), of the functional graph's tensors
    `_latents` and `_reconstruction`, and by name `_terms`, of the score, and `_codes`, which
    `views` remembers; and an empty dict, `_predictors`.
    """

    warned = False  # that there is no threshold yet

    def call(self, inputs, training=None, mask=None):
        # Batch statistics would make a score depend on its neighbours: inference mode, always.
        del training
        return super().call(inputs, training=False, mask=mask)

    def predict(self, x, batch_size=None, *args, **kwargs):
        """`keras.Model.predict`; warns if the model is not calibrated.

        Args:
            x: Images `(n, *image_shape)`, any numeric dtype, 0 to 255; or a `tf.data.Dataset`. An
                array on disk, `np.memmap`, is read batch by batch.
            batch_size: Images in a batch. Defaults to 32, or of large images to as many as take
                no more memory.
            *args, **kwargs: As in `keras.Model.predict`.

        Returns:
            A dict: `score`, float32 `(n,)`, finite, higher for more anomalous; `label`, int32
            `(n,)`, 1 where the score is above `threshold`; `anomaly_map`, float32 `(n, height,
            width)`, the mean absolute residual of every pixel, in the units of [-1, 1].
        """
        validation.check_images(x, self.image_shape)
        if np.isposinf(self.threshold) and not self.warned:
            self.warned = True
            warnings.warn(
                "The model has no threshold yet, so every label is 0: call "
                "`model.calibrate(normal_images)` or `model.set_threshold(value)`.",
                stacklevel=2,
            )
        batch_size = batch_size or self.count_at_once(32)
        x = pipeline.stream(x, batch_size)
        return super().predict(x, batch_size, *args, **kwargs)

    def export(self, *args, **kwargs):
        """`keras.Model.export`; refuses a model that is not calibrated."""
        self.check_exportable()
        return super().export(*args, **kwargs)

    def check_exportable(self):
        """Raises an `InputError` for a model that is not calibrated: its labels mean nothing."""
        if np.isposinf(self.threshold):
            raise InputError(
                "Expected a model with a threshold: call `model.calibrate(normal_images)` or "
                "`model.set_threshold(value)` before the export. Received: threshold=inf"
            )

    @property
    def relative_size(self):
        """How much more the networks see of an image than 32 x 32 pixels; 1 if it is less."""
        return max(self.image_size / 32, 1) ** 2

    def count_at_once(self, n):
        """How many images take as much memory as n of 32 x 32 pixels; at least 1."""
        return max(int(n / self.relative_size), 1)

    def compute_terms(self, images, batch_size=256, verbose=0):
        """The terms of the score of every image, by name.

        Args:
            images: As `predict` takes them.
            batch_size: Images in a batch, fewer if they are large.
            verbose: 1 shows how far it is, as in `predict`.

        Returns:
            A dict of float32 arrays `(n,)`; `combine_terms` makes scores of them.
        """
        return self._terms_and_latents(images, batch_size, verbose)[0]

    def _terms_and_latents(self, images, batch_size=256, verbose=0):
        validation.check_images(images, self.image_shape)
        outputs = {"terms": self._terms, "latents": self._latents}
        found = self._predict_inner("terms", outputs, images, batch_size, verbose)
        terms = {name: found["terms"][name] for name in self._terms}  # Keras sorts them
        return terms, found["latents"]

    def combine_terms(self, terms):
        """Equation (8) and Algorithm 2's decision on the terms that `compute_terms` gives.

        Returns:
            `(scores, labels)`, float32 and int32 `(n,)`, as `predict` gives them; without the
            maps, which a large set has no room for.
        """
        score, label = self.anomaly_score([terms[name] for name in self._terms])
        return np.asarray(score), np.asarray(label)

    def _predict_inner(self, part, outputs, images, batch_size, verbose=0):
        """Tensors of the functional graph for every image; `part` is their name."""
        if part not in self._predictors:
            model = keras.Model(inputs=self.inputs, outputs=outputs)
            model.compile(jit_compile=self.jit_compile)
            # Kept, for each one is traced anew. The method alone: Keras would take the model
            # itself for a layer and save it.
            self._predictors[part] = model.predict
        batch_size = self.count_at_once(batch_size)
        images = pipeline.stream(images, batch_size)
        return self._predictors[part](images, batch_size, verbose=verbose)

    def redecide(self, held_out_terms, omega1=None, contamination=None):
        """Builds the same detector with another decision, without training or images.

        Args:
            held_out_terms: What `calibrate` returned.
            omega1: ω1 of Equation (8); by default the model's.
            contamination: As in the constructor; by default the model's.

        Returns:
            A new model with the same weights and a threshold of its own, not compiled.
        """
        config = self.get_config()
        if omega1 is not None:
            if len(self.equation8_weights) == 1:
                raise InputError(
                    f"Equation (8) has one term in {type(self).__name__}, omega1 weighs two. "
                    f"Received: omega1={omega1}"
                )
            config["omega1"] = omega1
        if contamination is not None:
            config["contamination"] = contamination
        model = type(self).from_config(config)
        model.set_weights(self.get_weights())
        model.set_threshold(
            normal_quantile(model.combine_terms(held_out_terms)[0], model.contamination)
        )
        return model

    def calibrate(self, train_normals, held_out=None, verbose=0):
        """Learns from normal images what scores are common; needs no anomaly.

        Sets the threshold, and before it, in a model with a pretext, the memory of normal codes
        and the scale of the score's terms. It may be called again, for instance with the normal
        images of another machine.

        Args:
            train_normals: Normal images `(n, *image_shape)`, 0 to 255, such as were trained on.
            held_out: Normal images that were not trained on, on which scale and threshold are
                set. Without it a fifth of `train_normals`, always the same one, is taken for it;
                if the model was trained on that fifth, the threshold comes out low.
            verbose: As in `compute_terms`.

        Returns:
            The terms of the score of every held-out image, as `compute_terms` gives them.
        """
        if held_out is None:
            train_normals, held_out = self._set_aside(train_normals)
        if self.views:
            self._remember(train_normals, verbose)
        terms, latents = self._terms_and_latents(held_out, verbose=verbose)
        if self.views:
            self.anomaly_score.fit(list(terms.values()), self.views.trust(terms))
        scores, _ = self.combine_terms(terms)
        diagnosis.warn_if_collapsed(scores, latents)
        self.set_threshold(normal_quantile(scores, self.contamination))
        return terms

    def _set_aside(self, train_normals):
        """The images without a fifth of them, and that fifth."""
        validation.check_images(train_normals, self.image_shape)
        if not hasattr(train_normals, "__array__"):
            raise InputError(
                "`train_normals` must be an array to set a part of it aside; give one, or "
                f"`held_out` images. Received: {type(train_normals).__name__}"
            )
        train_normals = np.asarray(train_normals)
        order = np.random.default_rng(0).permutation(len(train_normals))
        aside = np.zeros(len(train_normals), bool)
        aside[order[: max(len(order) // 5, 1)]] = True
        return train_normals[~aside], train_normals[aside]

    def _remember(self, train_normals, verbose):
        """Shows the pretext the codes of normal images, no more than it remembers."""
        validation.check_images(train_normals, self.image_shape)
        if hasattr(train_normals, "__array__"):
            train_normals = np.asarray(train_normals)
            order = np.random.default_rng(0).permutation(len(train_normals))
            chosen = np.sort(order[: self.memory_size])
            if len(chosen) < 2:
                raise InputError(
                    "Expected at least 2 normal images to remember, and others held out. "
                    f"Received: {len(chosen)}"
                )
            train_normals = pipeline.make_ordered_dataset(
                train_normals, self.count_at_once(32), chosen
            )
        codes = self._predict_inner("codes", self._codes, train_normals, 32, verbose)
        # Else training has diverged: `calibrate` says so of the held-out images.
        if all(np.isfinite(part).all() for part in codes.values()):
            self.views.remember(codes)

    def encode(self, images, batch_size=256):
        """z = E1(x), the latent vectors, float32 `(n, latent_dim)`, of images as in `predict`."""
        validation.check_images(images, self.image_shape)
        return self._predict_inner("latents", self._latents, images, batch_size)

    def reconstruct(self, images, batch_size=256):
        """What the decoder of the anomaly map, D2, makes of images as in `predict`: float32
        `(n, *image_shape)`, 0 to 255."""
        validation.check_images(images, self.image_shape)
        found = self._predict_inner("reconstruction", self._reconstruction, images, batch_size)
        return (found + 1) * 127.5

    @property
    def threshold(self):
        """φ, the score above which an image is anomalous; +inf before `calibrate`."""
        return float(self.anomaly_score.threshold.value.numpy())

    def set_threshold(self, value):
        """Sets φ by hand, without calibrating or training again."""
        if np.isnan(value):
            raise InputError(f"The threshold must be a number. Received: {value}")
        self.anomaly_score.threshold.assign(value)
