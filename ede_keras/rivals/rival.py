"""The interface of a rival: a detector with another method, trained and used as an EDE is."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, NamedTuple, Self

import keras
import tensorflow as tf
from keras import ops

from ede_keras.errors import InputError
from ede_keras.layers import networks
from ede_keras.layers.anomaly_map import ResidualMap
from ede_keras.layers.image_sizes import check_shape, check_sizes, size_for_networks
from ede_keras.models.detector import AnomalyDetector
from ede_keras.models.detector_graph import DetectorGraph
from ede_keras.models.epoch_follower import put_first
from ede_keras.utils import pipeline
from ede_keras.utils.checks import check_range
from ede_keras.utils.validation import check_keras_settings


class Training(NamedTuple):
    """How a method is trained; `fit_rival` takes any of these as an argument.

    Args:
        epochs: Passes over the images, if these make at least `min_steps` batches.
        batch_size: Images in a batch.
        learning_rate: That of Adam.
        beta_1: That of Adam.
        min_steps: Minimum number of batches in an epoch; a small set is repeated to reach it.
    """

    epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 1e-3
    beta_1: float = 0.9
    min_steps: int = 40


class Rival(AnomalyDetector):
    """A detector that another paper describes, with EDE's networks where its method allows.

    A subclass defines `build_networks`, `score_terms` and `score_weights`; and `training_loss`,
    unless it has a `train_step` or a `fit` of its own. `calibrate`, `predict`, `save` and the
    exports are those of `EDE`.

    Args:
        image_shape: `(height, width, 1 or 3)` of the images.
        image_size: Height and width of the networks' input; by default as for `EDE`.
        latent_dim: Length of the latent vectors; the default depends on the method.
        base_width: Filters of the first convolution.
        contamination: As for `EDE`: the share of held-out normal images above the threshold.
        name: Name of the model.

    Attributes:
        training: The arguments of its training, by default.
        has_epochs: Whether it is trained in epochs; else it is fitted once.
    """

    training: ClassVar[Training] = Training()
    has_epochs: ClassVar[bool] = True
    default_latent_dim: ClassVar[int] = 32
    memory_size = 4096  # most images for the statistics of the anomaly map
    score_weights: ClassVar[Mapping[str, float]] = {}

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        image_size: int | None = None,
        latent_dim: int | None = None,
        base_width: int = 32,
        contamination: float = 0.05,
        name: str | None = None,
    ):
        check_keras_settings()
        check_range("contamination", 0 <= contamination < 1, contamination, "in [0, 1)")
        self.image_shape = check_shape(image_shape)
        self.image_size = image_size or size_for_networks(self.image_shape)
        self.latent_dim = self.default_latent_dim if latent_dim is None else latent_dim
        check_range("latent_dim", self.latent_dim > 0, latent_dim, "positive")
        check_range("base_width", base_width > 0, base_width, "positive")
        self.check_size()
        self.base_width, self.contamination = base_width, contamination
        self.preprocessor = networks.build_preprocessor(self.image_shape, self.image_size)
        self.build_networks()
        self.map_layer = ResidualMap(["residual"], (self.image_size, self.image_size), name="map")

        images = keras.Input(self.image_shape, name="images")
        x = self.preprocessor(images)
        terms, z, reconstruction = self.score_terms(x)
        maps = {"residual": ops.mean(ops.abs(x - reconstruction), axis=-1)}
        size = self.image_shape[:2]
        full = networks.resize(ops.expand_dims(self.map_layer(maps), -1), size)
        graph = DetectorGraph(
            images=images,
            terms=terms,
            latents=z,
            reconstruction=networks.resize(reconstruction, size),
            anomaly_map=ops.squeeze(full, axis=-1),
            maps=maps,
        )
        super().__init__(graph, name=name)
        self.mean_loss = keras.metrics.Mean(name="loss")
        self.fix("image_size", "latent_dim", "base_width", "contamination")

    def check_size(self) -> None:
        """Raises an `InputError` unless the networks can take `image_size`."""
        check_sizes(self.image_size, self.image_shape[-1])

    @property
    def network_arguments(self) -> tuple[int, int, int, int]:
        """The arguments of `build_encoder` and `build_decoder`."""
        return self.image_size, self.image_shape[-1], self.latent_dim, self.base_width

    @property
    def relative_size(self) -> float:
        """The number of pixels the networks see per image, as a multiple of 32 x 32; at least 1."""
        return max(self.image_size / 32, 1) ** 2

    @property
    def trained_variables(self) -> list[keras.Variable]:
        """The weights of `trained_networks`."""
        return [v for network in self.trained_networks for v in network.trainable_variables]

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """The networks that `training_loss` trains."""
        raise NotImplementedError(f"{type(self).__name__} must define trained_networks.")

    def build_networks(self) -> None:
        """Creates the networks, as attributes."""
        raise NotImplementedError(f"{type(self).__name__} must define build_networks.")

    def training_loss(self, x: Any) -> Any:
        """The loss of a training batch x in [-1, 1], a scalar."""
        raise NotImplementedError(f"{type(self).__name__} must define training_loss(x).")

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """`(terms, z, reconstruction)` of images x in [-1, 1], in inference mode.

        Terms are float32 `(n,)` by the names in `score_weights`, higher for more anomalous; z has
        the latent vectors `(n, ...)`, and the reconstruction x's shape.
        """
        raise NotImplementedError(f"{type(self).__name__} must define score_terms(x).")

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        verbose: int | str = "auto",
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """`keras.Model.fit` on normal images, given as to `EDE.fit`.

        Raises:
            InputError: The images cannot be used, or there are held-out ones: see `evaluate`.
        """
        self.check_input(x)
        self.refuse_held_out(kwargs)
        batch_size = self.training.batch_size if batch_size is None else batch_size
        y = None if hasattr(x, "__array__") else y
        images = x
        x = pipeline.stream(images, batch_size, kwargs.get("shuffle", True))
        if isinstance(x, tf.data.Dataset):
            kwargs["shuffle"] = False  # Keras warns about its own default, True
        if not self.compiled:
            self.compile(self.make_optimizer())
        epochs = self.training.epochs if epochs is None else epochs
        if (own := self.make_callback(images, epochs)) is not None:
            callbacks = put_first(own, callbacks, self)
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def refuse_held_out(self, given: Mapping[str, Any]) -> None:
        """Raises an `InputError` for held-out images among the arguments of `fit`."""
        if given.get("validation_data") is not None or given.get("validation_split"):
            raise InputError(_no_loss(self))

    def evaluate(self, *args: Any, **kwargs: Any) -> Any:
        """Not available: the losses are of training, some of them of networks that contend.

        Raises:
            InputError: Always.
        """
        del args, kwargs
        raise InputError(_no_loss(self))

    def make_callback(self, images: Any, epochs: int) -> keras.callbacks.Callback | None:
        """What the method does between the epochs of `fit`; arguments as there. None by default."""
        del images, epochs
        return None

    def make_optimizer(self, **overrides: Any) -> keras.Optimizer:
        """Adam as the method uses it by default."""
        own = {"learning_rate": self.training.learning_rate, "beta_1": self.training.beta_1}
        return keras.optimizers.Adam(**{**own, **overrides})

    def prepare_batch(self, data: Any) -> Any:
        """X of a batch of images, in [-1, 1]."""
        return self.preprocessor(pipeline.take_images(data))

    def train_step(self, data: Any) -> dict:
        """One step of Adam on `training_loss`."""
        x = self.prepare_batch(data)
        variables = self.trained_variables
        with tf.GradientTape() as tape:
            loss = self.training_loss(x)
        self.optimizer.apply(tape.gradient(loss, variables), variables)
        self.mean_loss.update_state(loss, sample_weight=tf.shape(x)[0])
        return self.get_metrics_result()

    @property
    def metrics(self) -> list[keras.Metric]:
        """The running mean of the loss."""
        return [self.mean_loss] if hasattr(self, "mean_loss") else []

    def get_config(self) -> dict:
        """The arguments of the constructor."""
        names = [name for name in inspect.signature(type(self)).parameters if name != "image_shape"]
        own = {name: getattr(self, name) for name in names}
        return {"image_shape": list(self.image_shape), **own}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """The model of a config, with new weights."""
        return cls(**config)

    def redecide(self, held_out_terms, omega1=None, contamination=None):
        """As for `EDE`; ω1 belongs to EDE's Equation (8)."""
        if omega1 is not None:
            raise InputError(
                f"{type(self).__name__} is not scored by Equation (8), so omega1 has no effect: "
                f"leave it out. Received: omega1={omega1}"
            )
        return super().redecide(held_out_terms, contamination=contamination)


def _no_loss(rival: Rival) -> str:
    return (
        f"{type(rival).__name__} has no loss of held-out images: leave `validation_data` out, and "
        "score held-out images with `calibrate` or `predict`"
    )
