"""DAGPR: an autoencoder, and a Gaussian process that knows which residuals are normal."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals.fitted import squared_distances
from ede_keras.rivals.rival import Rival, Training
from ede_keras.utils import pipeline

# The Gaussian process is fitted to at most so many different images.
MOST_IMAGES = 500
# Bounds of its length scale, for vectors of length 1; and of the variances of the function and of
# the noise, as multiples of the variance of y.
LENGTHS, VARIANCES, NOISES = (0.05, 10.0), (1e-3, 1e3), (1e-2, 10.0)
LEAST_RESIDUAL, LEAST_DEVIATION = 1e-6, 0.01  # added to a mean square; of its logarithm y


@keras.saving.register_keras_serializable(package="ede_keras")
class DAGPR(Rival):
    """An autoencoder with ten latent entries of length ‖z‖ = 1, and a Gaussian process on z.

    The autoencoder's loss is the mean of (x − x̂)². After its training, the process learns
    y = ln mean (x − x̂)² from z, on normal images: N(μ(z), σ²(z)), where σ² includes the noise. The
    score is −ln N(y; μ, σ²) without the constant ½ ln 2π. It is high if images with such a z have
    other residuals; and if no normal image has such a z, since σ² grows.

    Differences from the paper: there, anomalies are among the training images. Those far from the
    mean of z and residual are labelled 1, those near 0; the process regresses the labels from z,
    again and again with the images that it ranks lowest and highest. Normal images alone have no
    such labels, so here it predicts the residual, of which they are partly made. The authors' code
    fixes a kernel (Gaussian, linear and constant); here scikit-learn fits a Gaussian one. The
    networks are EDE's, and the epochs 20, not 200.

    Reference: Fan et al., "Robust deep auto-encoding Gaussian process regression for unsupervised
    anomaly detection", Neurocomputing 376, 2020; known here by its abstract and its authors' code.
    """

    training = Training(epochs=20)
    default_latent_dim = 10
    score_weights: ClassVar[Mapping[str, float]] = {"surprise": 1.0}

    def build_networks(self) -> None:
        """The autoencoder, and the layer of the Gaussian process."""
        trunk = networks.build_encoder(*self.network_arguments, name="trunk")
        z = keras.layers.UnitNormalization()(trunk.output)
        self.encoder = keras.Model(trunk.input, z, name="encoder")
        self.decoder = networks.build_decoder(*self.network_arguments, name="decoder")
        self.process = GaussianProcess(self.latent_dim, MOST_IMAGES, name="process")

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """Encoder and decoder."""
        return [self.encoder, self.decoder]

    def training_loss(self, x: Any) -> Any:
        """The mean of (x − x̂)²."""
        again = self.decoder(self.encoder(x, training=True), training=True)
        return ops.mean(ops.square(x - again))

    def reconstruct_and_measure(self, x: Any) -> tuple[Any, Any, Any]:
        """`(z, x̂, y)` in inference mode; y is the logarithm of the mean squared residual."""
        z = self.encoder(x, training=False)
        again = self.decoder(z, training=False)
        residual = ops.mean(ops.square(x - again), axis=(1, 2, 3))
        return z, again, ops.log(residual + LEAST_RESIDUAL)

    def make_callback(self, images: Any, epochs: int) -> keras.callbacks.Callback:
        """Fits the process after the last epoch, to images of `fit`."""
        del epochs
        return keras.callbacks.LambdaCallback(on_train_end=lambda logs: self.fit_process(images))

    def fit_process(self, images: Any) -> None:
        """Fits the process to images, as `fit` takes them; each image counts once."""
        found: dict[bytes, tuple] = {}
        batches = pipeline.stream(images, self.scale_batch_size(256), shuffle=True)
        for batch in pipeline.take_batches(batches, MOST_IMAGES):
            z, _, y = self.reconstruct_and_measure(self.preprocessor(batch))
            rows = zip(np.asarray(z), np.asarray(y), strict=True)
            found.update(zip((image.tobytes() for image in batch), rows, strict=True))
        z, y = zip(*found.values(), strict=True)
        self.process.learn(np.array(z, "float64"), np.array(y, "float64"))

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """−ln N(y; μ(z), σ²(z)), z, and x̂."""
        z, again, y = self.reconstruct_and_measure(x)
        return {"surprise": self.process([z, y])}, z, again


@keras.saving.register_keras_serializable(package="ede_keras")
class GaussianProcess(keras.layers.Layer):
    """½ ((y − μ)² / σ² + ln σ²) of `[z, y]`, `(n,)`.

    With K the kernel of the known vectors with the noise, and k that of z with them,
    μ = center + kᵀ α, α = K⁻¹ (y − center), and σ² = variance + noise − ‖L⁻¹ k‖², where L Lᵀ = K.
    Before `learn` μ is 0 and σ² is 1.
    """

    def __init__(self, latent_dim: int, size: int, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.latent_dim, self.size = latent_dim, size

        def add(name, *shape, value="zeros"):
            return self.add_weight(shape, value, trainable=False, name=name)

        self.known, self.alpha = add("known", size, latent_dim), add("alpha", size)
        self.inverse = add("inverse", size, size)  # L⁻¹
        self.center, self.length = add("center"), add("length", value="ones")
        self.variance, self.noise = add("variance"), add("noise", value="ones")
        self.built = True

    def learn(self, z: np.ndarray, y: np.ndarray) -> None:
        """Sets the weights from at most `size` examples, by scikit-learn's regressor."""
        from sklearn.gaussian_process import GaussianProcessRegressor  # slow to import
        from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

        center, scale = y.mean(), max(y.std(), LEAST_DEVIATION)
        kernel = ConstantKernel(1.0, VARIANCES) * RBF(0.5, LENGTHS) + WhiteKernel(0.5, NOISES)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a hyper-parameter is at one of its bounds
            found = GaussianProcessRegressor(kernel).fit(z, (y - center) / scale)
        arrays = z, found.alpha_ / scale, np.linalg.inv(found.L_) / scale
        for weight, values in zip((self.known, self.alpha, self.inverse), arrays, strict=True):
            more = [(0, most - n) for most, n in zip(weight.shape, values.shape, strict=True)]
            weight.assign(np.pad(values, more))
        self.center.assign(center)
        self.length.assign(found.kernel_.k1.k2.length_scale)
        self.variance.assign(found.kernel_.k1.k1.constant_value * scale**2)
        self.noise.assign(found.kernel_.k2.noise_level * scale**2)

    def call(self, inputs: Any) -> Any:
        """The negative log-density, without its constant."""
        z, y = inputs
        squares = squared_distances(z, self.known) / ops.square(self.length)
        k = self.variance * ops.exp(-0.5 * squares)
        mean = self.center + ops.sum(k * self.alpha, axis=1)
        explained = ops.sum(ops.square(ops.matmul(k, ops.transpose(self.inverse))), axis=1)
        variance = ops.maximum(self.variance - explained, 0.0) + self.noise
        return 0.5 * (ops.square(y - mean) / variance + ops.log(variance))

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        return {**super().get_config(), "latent_dim": self.latent_dim, "size": self.size}
