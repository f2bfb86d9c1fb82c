"""The part of an EDE that sees images through a backbone: once, before training and scoring."""

import math
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from ede_keras.errors import InputError
from ede_keras.models.feature_store import FeatureStore
from ede_keras.models.spaces import FeatureSpace, PixelSpace
from ede_keras.utils import pipeline
from ede_keras.utils.checks import check_enough
from ede_keras.utils.validation import check_images

# So many images of a data set, which may be without end, set the scale of features and of light.
_IMAGES_FOR_SCALE, _IMAGES_FOR_LIGHT = 1024, 1000
# An `ImageMemory` learns from images of so many pixels in all: 256 MiB.
_PIXELS_FOR_MEMORY = 2**26


class FeatureInput(keras.Model):
    """Features in place of images, wherever a model with a backbone takes images.

    `extract_features` computes them. Whatever takes an array of images also takes the array of
    their features, `(n, length)`.
    """

    image_shape: list[int]
    memory_size: int
    space: PixelSpace | FeatureSpace
    _choose: Any  # of `AnomalyDetector`, which the other half inherits
    _store: FeatureStore | None = None
    _extractor: Any = None

    def check_input(self, images: Any) -> None:
        """Raises an `InputError` for images, or features, that the model cannot take."""
        shape = pipeline.find_shape(images)
        if isinstance(self.space, PixelSpace) or len(shape) != 2:
            check_images(images, self.image_shape)
            return
        length = self.space.row_length
        if shape[1] != length or shape[0] == 0:
            raise InputError(
                f"Expected features of shape (n, {length}), as `extract_features` returns them, "
                f"or images. Received: {tuple(shape)}"
            )

    def prepare(self, images: Any) -> Any:
        """X of raw images, `(n, *image_shape)`, 0 to 255, or of a backbone's features of them."""
        return self.space.prepare(images)

    def decode(self, z: Any, decoder: keras.Layer, training: bool) -> Any:
        """A decoder's x of latent vectors `(n, latent_dim)`; see `thin` of the space."""
        if training:
            z = self.space.thin(z, self.optimizer.iterations)
        return decoder(z, training=training)

    @property
    def relative_size(self) -> float:
        """The number of pixels the networks see per image, as a multiple of 32 x 32; at least 1."""
        return self.space.relative_size

    def extract_features(self, images: Any, verbose: int = 0) -> Any:
        """The backbone's features of images. Those of an array are computed once and kept on disk.

        Args:
            images: As in `predict`.
            verbose: 1 shows a progress bar.

        Returns:
            float32 `(n, length)`, in the same order, to pass instead of the images. Without a
            backbone, or if there are too many to keep, the images themselves.
        """
        if isinstance(self.space, PixelSpace) or images is None:
            return images
        self.check_input(images)
        if len(pipeline.find_shape(images)) == 2:
            return images
        self._store = self._store or FeatureStore(self.space.row_length)
        if not isinstance(images, np.ndarray) or not self._store.fits(len(images)):
            return images
        return self._store.get(images, lambda: self._extract(images, verbose))

    def _extract(self, images: Any, verbose: int | str = 0) -> Iterator[np.ndarray]:
        """Features, batch by batch."""
        assert isinstance(self.space, FeatureSpace)
        if self._extractor is None:
            self._extractor = keras.Model(
                self.space.extractor.inputs, self.space.extractor.outputs[0]
            )
            self._extractor.compile(jit_compile=False)
        size = 16
        total = -(-len(images) // size) if hasattr(images, "__len__") else None
        bar = keras.utils.Progbar(total, verbose=1 if verbose == 1 else 0, unit_name="features")
        for batch in pipeline.stream(images, size):
            yield self._extractor.predict_on_batch(pipeline.take_images(batch))
            bar.add(1)

    def prepare_training(self, images: Any, verbose: int | str = 0) -> Any:
        """The images or features to train on; the first call sets what depends on all of them."""
        images = self.extract_features(images, verbose == 1)
        if images is None:
            return None
        if isinstance(self.space, PixelSpace):
            light = self.space.lighting
            # A generator would lose the batches that are looked at.
            is_seen = isinstance(images, Iterator) or (light and float(light.adapted.numpy()))
            if light and not is_seen:
                light.adapt(_first_images(images))
            return images
        if not float(self.space.scaling.adapted.numpy()):
            self.space.scaling.adapt(self._rows(images))
        return images

    def adapt_memory(self, train_normals: Any) -> None:
        """Lets the memory learn from normal images, given as images or as a backbone's features."""
        if isinstance(self.space, FeatureSpace):
            rows = self._rows(train_normals)
            check_enough(rows)
            self.space.memory.adapt(rows, self.space.scaling)
            return
        assert self.space.memory is not None
        x = self._prepare_for_memory(train_normals)
        check_enough(x)
        self.space.memory.adapt(x)

    def _prepare_for_memory(self, images):
        """X of the normal images that the memory learns from."""
        most = min(self.memory_size, max(_PIXELS_FOR_MEMORY // math.prod(self.space.shape), 2))
        batches = pipeline.take_batches(self._choose(images, most), most)
        return np.concatenate([np.asarray(self.prepare(batch)) for batch in batches])

    def _rows(self, images):
        """Features as an array: given ones, or those of a data set's first batches."""
        is_features = len(pipeline.find_shape(images)) == 2
        if is_features and isinstance(images, np.ndarray):
            return images
        batches = images if is_features else self._extract(images)
        return np.concatenate(list(pipeline.take_batches(batches, _IMAGES_FOR_SCALE)))


def _first_images(images: Any) -> np.ndarray:
    """The images of an array, or of a data set's first batches."""
    if hasattr(images, "__array__"):
        return np.asarray(images)[:_IMAGES_FOR_LIGHT]
    return np.concatenate(list(pipeline.take_batches(images, _IMAGES_FOR_LIGHT)))
