"""EDE: two encoders shared by two decoders, and the anomaly score (Sections 3.2 to 3.3)."""

from collections.abc import Mapping, Sequence
from typing import Any, Self

import keras
from keras import ops

from ede_keras.layers import networks
from ede_keras.layers.image_sizes import check_shape
from ede_keras.layers.pretext import Pretext
from ede_keras.models import losses
from ede_keras.models.arguments import EDEArguments
from ede_keras.models.detector import AnomalyDetector
from ede_keras.models.detector_graph import DetectorGraph
from ede_keras.models.feature_input import FeatureInput
from ede_keras.models.parts import NETWORKS, Network, make_backbone, make_networks, make_pretext
from ede_keras.models.recipes import get_recipe, refuse_arguments_of_fit
from ede_keras.models.spaces import make_space
from ede_keras.models.trainer import TwoPhaseTrainer
from ede_keras.utils.arguments import constructor_signature
from ede_keras.utils.validation import check_keras_settings


@keras.saving.register_keras_serializable(package="ede_keras")
class EDE(FeatureInput, TwoPhaseTrainer, AnomalyDetector):
    """The shared-autoencoder anomaly detector, trained on normal images alone.

    Encoders E1 and E2 and decoders D1 and D2 form EDE1 = E1→D1→E2 and EDE2 = E1→D2→E2. Phase 1
    teaches both to reconstruct images and latent vectors, Equations (1) and (2). In phase 2 EDE2
    re-generates the data and EDE1 learns to tell them from real data, Equations (3) to (5). The
    phases are weighted by w(n) of epoch n, Equations (6) and (7). After `fit`, `calibrate` sets
    the threshold; then `predict` gives `score`, `label` and `anomaly_map` of every image.

    | argument | paper | | attribute | paper |
    | --- | --- | --- | --- | --- |
    | `image_weight` | α | | `encoder1`, `encoder2` | E1, E2 |
    | `latent_weight` | β | | `decoder1`, `decoder2` | D1, D2 |
    | `norm` | d, ‖·‖ | | `phase_weight` | 1/n in (6), (7) |
    | `omega1` | ω1 of (8) | | `threshold` | φ |

    The arguments are read-only attributes of the model. `pretext` is the layer itself, or None.

    Args:
        image_shape: `(height, width, channels)` of the original images, 1 or 3 channels. The
            model takes raw pixels, 0 to 255, and scales and resizes them itself.
        encoder1: Replaces E1: a Keras layer or model from `(n, size, size, c)` to
            `(n, latent_dim)`, or a function with the arguments of `networks.build_encoder` that
            builds one. A pretext that `uses_features` needs a layer named "features" in it.
        encoder2: Replaces E2, likewise.
        decoder1: Replaces D1, likewise, from `(n, latent_dim)` to `(n, size, size, c)`.
        decoder2: Replaces D2, likewise.
        name: Name of the model.
        **arguments: The fields of `EDEArguments`, with recipe "default"'s values as defaults.

    Raises:
        InputError: An argument is unknown or out of range, or a network has a wrong shape.

    Example:
        >>> model = EDE(image_shape=(28, 28, 1), latent_dim=32)
        >>> model.compile()
        >>> model.fit(normal_images, epochs=15)
        >>> model.calibrate(normal_images, held_out=other_normal_images)
        >>> model.predict(images)["score"]

    Reference: Jia and Liu, "Anomaly detection in images with shared autoencoders", Frontiers in
    Neurorobotics 16:1046867 (2023), Sections 3.2 and 3.3.
    """

    network_names: tuple[str, ...] = NETWORKS
    # Arguments that have no effect on this variant.
    unused_arguments: tuple[str, ...] = ()

    def __init__(
        self,
        image_shape: Sequence[int],
        *,
        encoder1: Network | None = None,
        encoder2: Network | None = None,
        decoder1: Network | None = None,
        decoder2: Network | None = None,
        name: str | None = None,
        **arguments: Any,
    ):
        self.image_shape = check_shape(image_shape)
        self.arguments = EDEArguments.resolve(self.image_shape, **arguments)
        check_keras_settings()
        for argument, value in self.arguments.to_dict().items():
            if argument not in ("pretext", "backbone"):
                setattr(self, argument, value)
        self.omega2 = 1 - self.omega1

        # === Layers ===
        self.backbone = make_backbone(self.arguments)
        self.space = make_space(self.image_shape, self.arguments, self.backbone)
        self.preprocessor = self.space.preprocessor
        self.memory, self.map_layer = self.space.memory, self.space.map_layer
        self.light = self.space.lighting
        self.memory_weights, self.lone_term = self.space.memory_weights, self.space.lone_term
        given = encoder1, encoder2, decoder1, decoder2
        own: dict[str, Any] = dict(zip(NETWORKS, given, strict=True))
        self._own_networks = [network for network, given in own.items() if given is not None]
        made: Any = make_networks(own, self.network_names, self.space)
        self.encoder1, self.encoder2, self.decoder1, self.decoder2 = made
        self.pretext = make_pretext(self.arguments, self.image_shape)
        shapes = [(None, *self.space.latent_shape)]
        if self.pretext and self.pretext.uses_features:
            outputs = [self.encoder1.output, networks.find_features(self.encoder1)]
            self._encoder_with_features = keras.Model(self.encoder1.inputs, outputs)
            shapes = [output.shape for output in outputs]
        if self.pretext and not self.pretext.term_weights:  # else the functional model builds it
            self.pretext.build(*shapes)

        # === Functional model: Algorithm 2 ===
        images = keras.Input(self.image_shape, name="images")
        x, features = self.space.see(images)
        z = self.encoder1(self.space.networks_part(x), training=False)
        terms, reconstruction = self.score_terms(x, z)
        recalled, maps = self.space.recall(x)
        drawn, peak = self.space.draw(x, reconstruction, maps)
        terms |= {**recalled, **peak}
        codes: dict[str, Any] = {}
        if self.pretext and self.pretext.term_weights:
            pretext_terms, codes = self.pretext_terms(x)
            terms |= pretext_terms
        graph = DetectorGraph(
            images=images, terms=terms, latents=z, codes=codes, features=features, **drawn
        )
        super().__init__(graph, name=name)
        self.epoch = self.add_weight((), "ones", "float32", trainable=False, name="epoch")
        self.fix("omega2", "preprocessor", "space", "arguments", "epoch", "has_phase2")
        self.fix("network_names", *EDEArguments.names(), *NETWORKS)

    @classmethod
    def from_recipe(cls, name: str, image_shape: Sequence[int], **overrides: Any) -> Self:
        """Builds and compiles the model as a recipe says; `fit_recipe` trains it as well.

        Args:
            name: "default", "default_no_pretext", or "paper", the literal algorithm.
            image_shape: `(height, width, channels)` of the images.
            **overrides: Arguments to replace: of `EDE`, `learning_rate`, `beta_1`, `precision`.

        Raises:
            InputError: The recipe does not exist, or an argument belongs to `fit`.

        Example:
            >>> model = EDE.from_recipe("paper", (28, 28, 1), latent_dim=64)
        """
        own = {network: overrides.pop(network) for network in NETWORKS if network in overrides}
        unused = cls.unused_arguments
        arguments, training = get_recipe(name, image_shape, unused=unused, **overrides)
        refuse_arguments_of_fit(overrides)
        model = cls(image_shape, **arguments.to_dict(), **own)
        adam = keras.optimizers.Adam(training.learning_rate, beta_1=training.beta_1)
        model.compile(adam, precision=training.precision)
        return model

    @property
    def encoders(self) -> list[keras.Layer]:
        """The encoders that the variant has: E1, E2."""
        return [e for e in (self.encoder1, self.encoder2) if e is not None]

    @property
    def decoders(self) -> list[keras.Layer]:
        """The decoders that the variant has: D1, D2."""
        return [d for d in (self.decoder1, self.decoder2) if d is not None]

    @property
    def equation8_weights(self) -> Mapping[str, float]:
        """ω1 and ω2 of Equation (8), by the names that `score_terms` gives its terms."""
        first = "x_x2p" if self.score == "image" else "z_z2"
        return {first: self.omega1, "z_z2p": self.omega2}

    @property
    def score_weights(self) -> Mapping[str, float]:
        """The weight of each term of the score, by name."""
        pretext_weights = self.pretext.term_weights if self.pretext else {}
        factor = self.pretext.equation8_weight if self.pretext and pretext_weights else 1.0
        own = self.space.share(self.equation8_weights)
        own = {name: factor * weight for name, weight in own.items()}
        return {**own, **self.memory_weights, **pretext_weights}

    def ede_networks(self, i: int) -> list[keras.Layer]:
        """The networks of EDE i + 1, its decoder last. A pretext's own layers belong to EDE1."""
        head = [self.pretext] if self.pretext and i == 0 else []
        return [*self.encoders, *head, self.decoders[i]]

    def augment(self, x: Any) -> Any:
        """A training batch in [-1, 1] as `lighting` and `mirror` vary it."""
        return self.space.augment(x, self.optimizer.iterations)

    def encode_views(self, x: Any, training: bool) -> tuple[Any, Any]:
        """E1 on a batch in [-1, 1]: `(z, the pretext's weighted loss)`; z of views, if any."""
        if not self.pretext:
            return self.encoder1(x, training=training), 0.0
        # Starts elsewhere in each batch, because data may come in the same order in every epoch.
        step = self.epoch + (self.optimizer.iterations if training else 0)
        views = self.pretext.views(x, ops.cast(step, "int32"))
        z, features = self._encode_with_features(views.first, training)
        if views.more is not None:
            # A pass of its own: the gradient of z then flows through the first views alone.
            more = self._encode_with_features(views.more, training)[1]
            features = ops.concatenate([features, more])
        if z is None:
            z = self.encoder1(self.space.networks_part(x), training=training)
        return z, self.pretext_weight * self.pretext.loss(features, views.target)

    def _encode_with_features(self, x, training=False):
        """`(z, features)` of views; either is None if the pretext does not use it."""
        if self.pretext and self.pretext.encoder:
            return None, self.pretext.encoder(x, training=training)
        if self.pretext and self.pretext.uses_features:
            return self._encoder_with_features(x, training=training)
        return self.encoder1(x, training=training), None

    def regenerate(self, z: Any, decoder: keras.Layer, training: bool) -> tuple[Any, Any]:
        """Decodes latent vectors and encodes the images again: `(decoder(z), E2(decoder(z)))`."""
        x = self.decode(z, decoder, training)
        return x, self.encoder2(x, training=training)

    def reconstruction_loss(self, x: Any, x_i: Any, z: Any, z_i: Any) -> Any:
        """Equation (1) or (2) with the model's α, β and norm."""
        return self._weigh(losses.reconstruction_loss, x, x_i, z, z_i)

    def _weigh(self, equation, x, x_i, z, z_i):
        target = ops.stop_gradient(z) if self.fixed_latent_target else z
        return equation(x, x_i, target, z_i, self.image_weight, self.latent_weight, self.norm)

    def extra_loss(self, x: Any, z: Any, x1: Any) -> Any:
        """A subclass's own loss, a scalar that is added to Equation (1); 0 by default.

        Args:
            x: A batch in [-1, 1], `(n, size, size, c)`.
            z: Its latent vectors, `(n, latent_dim)`.
            x1: EDE1's reconstruction, of x's shape.
        """
        del x, z, x1
        return 0.0

    def phase1(self, x: Any, training: bool) -> tuple[list, list]:
        """Equations (1) and (2) on a batch in [-1, 1], one per EDE; and (z, z2) for phase 2."""
        is_damaged = training and self.has_phase2 and self.phase2_form == "restoration"
        share = 1 - self.phase_weight
        seen = self.space.damage(x, share, self.optimizer.iterations) if is_damaged else x
        z, pretext_loss = self.encode_views(seen, training)
        x = self.space.networks_part(x)
        regenerated = [self.regenerate(z, decoder, training) for decoder in self.decoders]
        rec = [self.reconstruction_loss(x, x_i, z, z_i) for x_i, z_i in regenerated]
        rec[0] = rec[0] + pretext_loss + self.extra_loss(x, z, regenerated[0][0])
        return rec, [z, regenerated[-1][1]]

    def phase2(self, x: Any, latents: list, training: bool) -> Any:
        """Equation (3) on a batch in [-1, 1]; the latents are (z, z2)."""
        z, z2 = latents
        x2p, z2p = self.regenerate(z2, self.decoder1, training)
        x = self.space.networks_part(x)
        return self._weigh(losses.adversarial_objective, x, x2p, z, z2p)

    def score_terms(self, x: Any, z: Any, training: bool = False) -> tuple[dict, Any]:
        """The terms of Equation (8) for a batch in [-1, 1] and its latent vectors z = E1(x).

        Returns:
            `(terms, reconstruction)`: float32 `(n,)` by name, and the images that the anomaly map
            is made from. `training` is for audits alone; scores use inference mode.
        """
        x2, z2 = self.regenerate(z, self.decoder2, training)
        x2p, z2p = self.regenerate(z2, self.decoder1, training)
        if self.score == "image":
            first = self.space.compare("x_x2p", x, x2p, self.norm)
        else:
            first = {"z_z2": losses.distance(z, z2, self.norm)}
        return {**first, "z_z2p": losses.distance(z, z2p, self.norm)}, x2

    def pretext_terms(self, x: Any, training: bool = False) -> tuple[dict, dict]:
        """The pretext's terms for a batch in [-1, 1], and the codes that they are made from."""
        assert self.pretext is not None
        return self.pretext(*self._encode_with_features(self.pretext.score_views(x), training))

    def get_config(self) -> dict:
        """The constructor's arguments."""
        config = self.arguments.to_dict()
        if isinstance(config["pretext"], Pretext):
            config["pretext"] = keras.saving.serialize_keras_object(config["pretext"])
        if self.backbone:  # as its layers, so that neither its file nor keras-cv is needed again
            config["backbone"] = keras.saving.serialize_keras_object(self.backbone)
        for network in self._own_networks:
            config[network] = keras.saving.serialize_keras_object(getattr(self, network))
        return {"image_shape": list(self.image_shape), **config, "name": self.name}

    @classmethod
    def from_config(cls, config: dict) -> Self:
        """The model of a config, with new weights."""
        config = {"components": 0, "lighting": 0.0, "scale_terms": False, **config}  # as in 0.1
        for key in ("pretext", "backbone", *NETWORKS):
            if isinstance(config.get(key), dict):
                config[key] = keras.saving.deserialize_keras_object(config[key])
        return cls(**config)


EDE.__signature__ = constructor_signature(EDE.__init__, EDEArguments)
