"""The scoring half of a model: calibrate it, score images, decide (Section 3.3.4)."""

import warnings
from collections.abc import Mapping
from typing import Any, Self

import numpy as np

from ede_keras.errors import InputError
from ede_keras.layers.anomaly_map import PlaceMap, ResidualMap
from ede_keras.layers.anomaly_score import AnomalyScore, normal_quantile
from ede_keras.layers.feature_memory import FeatureMemory
from ede_keras.layers.image_memory import ImageMemory
from ede_keras.layers.lighting import Lighting
from ede_keras.layers.pretext import Pretext
from ede_keras.models import diagnosis
from ede_keras.models.arguments import COPIES
from ede_keras.models.detector_graph import DetectorGraph
from ede_keras.models.graph_model import GraphModel
from ede_keras.utils import pipeline
from ede_keras.utils.checks import check_enough
from ede_keras.utils.hold_out import count_fifth
from ede_keras.utils.tracing import trace_once


class AnomalyDetector(GraphModel):
    """The scoring half of `EDE` and its variants: from images to `score`, `label`, `anomaly_map`.

    A subclass builds a `DetectorGraph`, passes it to the constructor, and defines `score_weights`
    and `get_config`. It has the attributes `image_shape`, `contamination` and `omega1` and, if
    there is a pretext, `pretext` and `memory_size`.

    Args:
        graph: The tensors of the functional graph.
        name: Name of the model.
    """

    image_shape: list[int]
    contamination: float
    omega1: float
    memory_size: int
    pretext: Pretext | None = None
    memory: FeatureMemory | ImageMemory | None = None
    memory_weights: Mapping[str, float] = {}
    has_edge_formats = True  # whether ONNX and LiteRT have the operations of its score
    light: Lighting | None = None
    lone_term: str | None = None
    scale_terms = False  # though there are no terms of a memory or a pretext
    map_layer: PlaceMap | ResidualMap | None = None
    _warned = False  # that there is no threshold yet

    def __init__(self, graph: DetectorGraph, name: str | None = None):
        self.graph = graph
        self._predictors: dict[str, Any] = {}
        self.anomaly_score = AnomalyScore(self.score_weights, self.lone_term, name="anomaly_score")
        score, label = self.anomaly_score(graph.terms)
        outputs = {"score": score, "label": label, "anomaly_map": graph.anomaly_map}
        super().__init__(inputs=graph.images, outputs=outputs, name=name)
        self.fix("image_shape", "pretext", "anomaly_score", "graph", "threshold", "pixel_threshold")

    @property
    def score_weights(self) -> Mapping[str, float]:
        """The weight of each term of the score, by name."""
        raise NotImplementedError(f"{type(self).__name__} must define score_weights.")

    @property
    def equation8_weights(self) -> Mapping[str, float]:
        """The weights of the terms of Equation (8), by name."""
        return self.score_weights

    @property
    def equation8_terms(self) -> list[str]:
        """The names of the score's terms that are Equation (8)'s, not a memory's or a pretext's."""
        beside = {*self.memory_weights}
        beside |= {*(self.pretext.term_weights if self.pretext else ())}
        return [name for name in self.score_weights if name not in beside]

    def call(self, inputs, training=None, mask=None):
        """The outputs for a batch of images, always in inference mode."""
        # Batch statistics would make a score depend on the other images of its batch.
        del training
        return super().call(inputs, training=False, mask=mask)

    def predict(self, x: Any, batch_size: int | None = None, *args: Any, **kwargs: Any) -> dict:
        """`keras.Model.predict`; warns if the model is not calibrated.

        Args:
            x: Images `(n, *image_shape)`, any numeric dtype, 0 to 255; or a `tf.data.Dataset`. An
                array on disk, `np.memmap`, is read batch by batch.
            batch_size: Images in a batch. Defaults to 32, or for large images to as many as need
                no more memory.
            *args: As in `keras.Model.predict`.
            **kwargs: As in `keras.Model.predict`.

        Returns:
            A dict: `score`, float32 `(n,)`, finite, higher for more anomalous; `label`, int32
            `(n,)`, 1 where the score is above `threshold`; `anomaly_map`, float32 `(n, height,
            width)`, how far each pixel, or with a backbone each place, deviates from those of
            held-out normal images, in their standard deviations. Before `calibrate` it is the mean
            absolute residual, in the units of [-1, 1].
        """
        self.check_input(x)
        if np.isposinf(self.threshold) and not self._warned:
            self._warned = True
            warnings.warn(
                "The model has no threshold yet, so every label is 0: call "
                "`model.calibrate(normal_images)` or `model.set_threshold(value)`.",
                stacklevel=2,
            )
        batch_size = batch_size or self.scale_batch_size(32)
        x = pipeline.stream(x, batch_size)
        return super().predict(x, batch_size, *args, **kwargs)

    def extract_features(self, images: Any, verbose: int = 0) -> Any:
        """What the networks are trained on: the images themselves, or a backbone's features."""
        del verbose
        return images

    def make_predict_function(self, force: bool = False) -> Any:
        """Keras' prediction function, traced once for batches of any size."""
        if self.predict_function is None or force:
            super().make_predict_function(force=True)
            trace_once(self)
        return self.predict_function

    def export(self, *args: Any, **kwargs: Any) -> None:
        """`keras.Model.export`; refuses a model that is not calibrated."""
        self.check_exportable()
        return super().export(*args, **kwargs)

    def check_exportable(self) -> None:
        """Raises an `InputError` for a model without a threshold: its labels mean nothing."""
        if np.isposinf(self.threshold):
            raise InputError(
                "Expected a model with a threshold: call `model.calibrate(normal_images)` or "
                "`model.set_threshold(value)` before the export. Received: threshold=inf"
            )

    def combine_terms(self, terms: Mapping[str, Any]) -> tuple[np.ndarray, np.ndarray]:
        """Equation (8) and Algorithm 2's decision on the terms that `compute_terms` returns.

        Returns:
            `(scores, labels)`, float32 and int32 `(n,)`, as in `predict`.
        """
        score, label = self.anomaly_score(terms)
        return np.asarray(score), np.asarray(label)

    def weigh_terms(self, terms: Mapping[str, Any]) -> dict[str, np.ndarray]:
        """Each term's part of the scores, `(n,)` by name; `terms` as `compute_terms` returns them.

        The score is their sum: terms are brought to one scale and weighted, as Equation (8) does.
        """
        return {name: np.asarray(part) for name, part in self.anomaly_score.weigh(terms).items()}

    def redecide(
        self,
        held_out_terms: Mapping[str, Any],
        omega1: float | None = None,
        contamination: float | None = None,
    ) -> Self:
        """Builds the same detector with another threshold, without training or images.

        Args:
            held_out_terms: The return value of `calibrate`.
            omega1: ω1 of Equation (8); by default the model's.
            contamination: As in the constructor; by default the model's.

        Returns:
            A new model with the same weights and its own threshold, not compiled.
        """
        config = self.get_config()
        if omega1 is not None:
            if len(self.equation8_weights) == 1:
                raise InputError(
                    f"{type(self).__name__} has one term in Equation (8), so omega1 has no effect: "
                    f"leave it out. Received: omega1={omega1}"
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

    def calibrate(self, train_normals: Any, held_out: Any = None, verbose: int = 0) -> dict:
        """Sets the thresholds of score and map by normal images; needs no anomalies.

        With a pretext it first fills the memory of normal codes and scales the terms of the score.
        It can be called again, for instance with normal images from another camera.

        Args:
            train_normals: Normal images `(n, *image_shape)`, 0 to 255, for instance those that the
                model was trained on.
            held_out: Normal images that the model was not trained on, for the scale and the
                threshold. Without it a fifth of `train_normals`, always the same one, is used; if
                the model was trained on that fifth, the threshold is too low.
            verbose: 1 shows progress bars.

        Returns:
            The terms of the score of every held-out image, as in `compute_terms`.
        """
        train_normals = self.extract_features(train_normals, verbose)
        if held_out is None:
            train_normals, held_out = self._set_aside(train_normals)
        held_out = self.extract_features(held_out, verbose)
        if self.memory:
            self.adapt_memory(train_normals)
        if self.graph.codes:
            self._adapt_pretext(train_normals, verbose)
        if self.map_layer:
            seen = held_out if self.map_layer.learns_from_held_out else self._choose(train_normals)
            self.map_layer.adapt(self._predict_inner("maps", self.graph.maps, seen, 256))
        terms, latents = self._terms_and_latents(held_out, verbose=verbose)
        pretext = self.pretext if self.pretext and self.pretext.term_weights else None
        if self.memory or pretext or self.scale_terms:
            reliability = pretext.reliability(terms) if pretext else {}
            diagnosis.warn_if_unreliable(reliability)
            self.anomaly_score.adapt(terms, reliability)
        scores, _ = self.combine_terms(terms)
        diagnosis.warn_if_collapsed(scores, latents, self)
        self.set_threshold(normal_quantile(scores, self.contamination))
        highest = self._predict_inner("map_maxima", self.graph.map_maxima, held_out, 256)
        self.anomaly_score.pixel_threshold.assign(normal_quantile(highest, self.contamination))
        return terms

    def _choose(self, images, most=None):
        """At most `memory_size` of an array of normal images, or `most`; always the same ones.

        If training varied their light, copies in other light follow, within the same limit.
        """
        if not hasattr(images, "__array__"):
            return images
        images, most = np.asarray(images), most or self.memory_size
        light = self.light if self.light and float(self.light.range.numpy()) > 0 else None
        order = np.random.default_rng(0).permutation(len(images))
        chosen = np.sort(order[: max(most // 2, 1) if light else most])
        batch_size = self.scale_batch_size(32)
        if light is None:
            return pipeline.make_ordered_dataset(images, batch_size, chosen)
        again = np.tile(chosen, COPIES - 1)[: most - len(chosen)]
        plain, copies = (
            pipeline.as_float(pipeline.make_ordered_dataset(images, batch_size, positions))
            for positions in (chosen, again)
        )
        return plain.concatenate(copies.enumerate().map(light.vary_pixels))

    def adapt_memory(self, train_normals: Any) -> None:
        """Fills `memory` with normal images or their features."""
        raise NotImplementedError(f"{type(self).__name__} must define adapt_memory.")

    def _set_aside(self, train_normals):
        """`(four fifths, one fifth)` of the images, always split the same way."""
        self.check_input(train_normals)
        if not hasattr(train_normals, "__array__"):
            raise InputError(
                "`train_normals` must be an array, so that a part of it can be held out: pass an "
                f"array, or pass `held_out` images too. Received: {type(train_normals).__name__}"
            )
        train_normals = np.asarray(train_normals)
        order = np.random.default_rng(0).permutation(len(train_normals))
        aside = np.zeros(len(train_normals), bool)
        aside[order[: count_fifth(len(order))]] = True
        return train_normals[~aside], train_normals[aside]

    def _adapt_pretext(self, train_normals, verbose):
        """Gives the pretext the codes of at most `memory_size` normal images."""
        if hasattr(train_normals, "__array__"):
            check_enough(train_normals)
        chosen = self._choose(train_normals)
        codes = self._predict_inner("codes", self.graph.codes, chosen, 32, verbose)
        # Codes that are not finite mean that training has diverged; `calibrate` warns about it.
        if self.pretext and all(np.isfinite(part).all() for part in codes.values()):
            self.pretext.adapt(codes)

    @property
    def threshold(self) -> float:
        """φ, the score above which an image is anomalous; +inf before `calibrate`."""
        return float(self.anomaly_score.threshold.value.numpy())

    @property
    def pixel_threshold(self) -> float:
        """The value of `anomaly_map` above which a pixel is anomalous; +inf before `calibrate`.

        It is chosen so that at most a share `contamination` of held-out normal images have such a
        pixel. `redecide` leaves it as it is.
        """
        return float(self.anomaly_score.pixel_threshold.value.numpy())

    def set_threshold(self, value: float) -> None:
        """Sets φ, without calibrating or training again."""
        if np.isnan(value):
            raise InputError(f"The threshold must be a number. Received: {value}")
        self.anomaly_score.threshold.assign(value)
