"""A functional model whose inner tensors can be asked for, for any number of images."""

from typing import Any

import keras
import numpy as np

from ede_keras.errors import InputError
from ede_keras.models.detector_graph import DetectorGraph
from ede_keras.models.guarded_model import GuardedModel
from ede_keras.utils import pipeline
from ede_keras.utils.tracing import trace_once
from ede_keras.utils.validation import check_images


class GraphModel(GuardedModel):
    """What a detector's graph computes on the way to the score: terms, latents, maps."""

    image_shape: list[int]
    graph: DetectorGraph
    _predictors: dict[str, Any]

    def check_input(self, images: Any) -> None:
        """Raises an `InputError` for images that the model cannot take; see `check_images`."""
        check_images(images, self.image_shape)

    @property
    def relative_size(self) -> float:
        """The number of pixels the networks see per image, as a multiple of 32 x 32; at least 1."""
        raise NotImplementedError(f"{type(self).__name__} must define relative_size.")

    def scale_batch_size(self, n: int) -> int:
        """The number of images that take as much memory as n of 32 x 32 pixels; at least 1."""
        return max(int(n / self.relative_size), 1)

    def compute_terms(self, images: Any, batch_size: int = 256, verbose: int = 0) -> dict:
        """The terms of the score of every image, by name.

        Args:
            images: As in `predict`.
            batch_size: Images in a batch, fewer if they are large.
            verbose: 1 shows a progress bar.

        Returns:
            A dict of float32 arrays `(n,)`; `combine_terms` turns them into scores.
        """
        return self._terms_and_latents(images, batch_size, verbose)[0]

    def compute_terms_and_maps(
        self, images: Any, batch_size: int = 256, verbose: int = 0
    ) -> tuple[dict, np.ndarray]:
        """`compute_terms` and, from the same pass, the anomaly maps, float32 `(n, h, w)`."""
        outputs = {"terms": self.graph.terms, "maps": self.graph.anomaly_map}
        found = self._predict_inner("terms_and_maps", outputs, images, batch_size, verbose)
        return {name: found["terms"][name] for name in self.graph.terms}, found["maps"]

    def compute_maps(self, images: Any, batch_size: int = 256) -> np.ndarray:
        """The anomaly maps of `predict`, float32 `(n, h, w)`, without the work for the score."""
        return self._predict_inner("anomaly_map", self.graph.anomaly_map, images, batch_size)

    def _terms_and_latents(self, images, batch_size=256, verbose=0):
        outputs = {"terms": self.graph.terms, "latents": self.graph.latents}
        found = self._predict_inner("terms", outputs, images, batch_size, verbose)
        terms = {name: found["terms"][name] for name in self.graph.terms}  # Keras sorts them
        return terms, found["latents"]

    def encode(self, images: Any, batch_size: int = 256) -> np.ndarray:
        """The latent vectors z = E1(x), float32 `(n, latent_dim)`; images as in `predict`."""
        return self._predict_inner("latents", self.graph.latents, images, batch_size)

    def reconstruct(self, images: Any, batch_size: int = 256) -> np.ndarray:
        """The reconstructions that the anomaly map compares with, x2 of an EDE.

        Args:
            images: As in `predict`.
            batch_size: Images in a batch, fewer if they are large.

        Returns:
            float32 `(n, *image_shape)`, 0 to 255.
        """
        if self.graph.reconstruction is None:
            raise InputError(
                "Images cannot be reconstructed from a backbone's features: use `anomaly_map` of "
                "`predict`, or train a model without `backbone`."
            )
        found = self._predict_inner("reconstruction", self.graph.reconstruction, images, batch_size)
        return (found + 1) * 127.5

    def _predict_inner(self, part, outputs, images, batch_size, verbose=0):
        """The values of some of the graph's tensors for every image; `part` names the choice."""
        self.check_input(images)
        inputs = self.graph.images
        if len(pipeline.find_shape(images)) == 2:
            part, inputs = f"{part} of features", self.graph.features
        if part not in self._predictors:
            model = keras.Model(inputs=inputs, outputs=outputs)
            model.compile(jit_compile=self.jit_compile)
            model.make_predict_function()
            trace_once(model)
            # Kept, because each new model is traced again. Only the method is kept: Keras would
            # track the model itself as a layer and save it.
            self._predictors[part] = model.predict
        batch_size = self.scale_batch_size(batch_size)
        images = pipeline.stream(images, batch_size)
        return self._predictors[part](images, batch_size, verbose=verbose)
