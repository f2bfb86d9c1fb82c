"""The geometric pretext beside a backbone: an encoder of its own sees the image itself."""

import math
from typing import Any

import keras

from ede_keras.layers import networks
from ede_keras.layers.geometric_pretext import GeometricPretext
from ede_keras.layers.pretext import TrainingViews

# Filters of the encoder's first convolution.
BASE_WIDTH = 16


@keras.saving.register_keras_serializable(package="ede_keras")
class ImagePretext(GeometricPretext):
    """`GeometricPretext` where the EDEs' x is a row of features, whose last part is the image.

    E1 has no map of the image that could be turned, so the convolutions of recipe "default"'s E1
    take its place for the views; there are no latent vectors. Its terms make mistakes on other
    images than the features' terms do.

    Args:
        transformations: As in `GeometricPretext`.
        image_shape: `(size, size, channels)` of the image in a row, in [-1, 1].
        memory_size: As in `GeometricPretext`.
        views_per_step: As in `GeometricPretext`.
    """

    # Together as much as the features' terms; chosen on classes of the Fashion-MNIST training part.
    term_weights = {"pretext": 1.2, "feature_distance": 0.8}  # noqa: RUF012
    equation8_weight = 1.0
    uses_features = False  # of E1

    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        size, _, channels = self.image_shape
        encoder = networks.build_encoder(size, channels, latent_dim=1, base_width=BASE_WIDTH)
        self.encoder = keras.Model(encoder.input, networks.find_features(encoder), name="encoder")

    def build(self, z_shape: Any = None, features_shape: Any = None) -> None:
        """Creates the weights for features of this shape; there are no latent vectors."""
        del z_shape
        self.head.build((None, math.prod(features_shape[1:])))
        self.feature_density.build((None, self.n_views, features_shape[-1]))

    def views(self, x: Any, step: Any) -> TrainingViews:
        """Views of the images at the end of rows `(n, length)`."""
        return super().views(self._images(x), step)

    def score_views(self, x: Any) -> Any:
        """All K views of the images at the end of rows `(n, length)`."""
        return super().score_views(self._images(x))

    def _images(self, x):
        return keras.ops.reshape(x[:, -math.prod(self.image_shape) :], (-1, *self.image_shape))
