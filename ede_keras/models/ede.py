"""EDE: two encoders shared by two decoders, and the anomaly score (Sections 3.2 to 3.3)."""

import keras
from keras import ops

from ede_keras.errors import InputError
from ede_keras.layers import networks
from ede_keras.layers.anomaly_score import AnomalyScore
from ede_keras.layers.geometric_pretext import VIEW_WEIGHTS, WEIGHT_BESIDE_VIEWS, GeometricPretext
from ede_keras.models import arguments, losses, recipes
from ede_keras.models.detector import AnomalyDetector
from ede_keras.models.trainer import TwoPhaseTrainer
from ede_keras.utils.validation import check_precision


@keras.saving.register_keras_serializable(package="ede_keras")
class EDE(TwoPhaseTrainer, AnomalyDetector):
    """The shared-autoencoder anomaly detector, trained on normal images alone.

    Encoders E1 and E2 and decoders D1 and D2 form EDE1 = E1→D1→E2 and EDE2 = E1→D2→E2. Phase 1
    teaches both to reconstruct images and latent vectors, Equations (1) and (2); in phase 2 EDE2
    re-generates the data and EDE1 learns to tell them from real data, Equations (3) to (5); both
    count by the weight w(n) of epoch n, Equations (6) and (7). After `fit`, `calibrate` sets the
    threshold; then `predict` gives `score`, `label` and `anomaly_map` of every image.

    | argument | paper | | attribute | paper |
    | --- | --- | --- | --- | --- |
    | `image_weight` | α | | `encoder1`, `encoder2` | E1, E2 |
    | `latent_weight` | β | | `decoder1`, `decoder2` | D1, D2 |
    | `norm` | d, ‖·‖ | | `phase_weight` | 1/n in (6), (7) |
    | `omega1` | ω1 of (8) | | `threshold` | φ |

    Args:
        image_shape: `(height, width, channels)` of the images as they come, 1 or 3 channels.
            The model takes their raw pixels, 0 to 255, and scales and resizes them itself.
        latent_dim: Length of the latent vectors.
        image_size: Height and width the networks work at, a multiple of 8 from 16 up. Defaults
            to 16 for images of up to 16 pixels, to 32 for larger ones.
        base_width: Filters of an encoder's first convolution. Defaults to 16 for grey images, to
            32 for colour images.
        image_weight: α.
        latent_weight: β.
        norm: "l1", mean absolute, or "l2", mean squared difference.
        schedule: w(n): "inverse_epoch", 1/n as printed, or "floored_inverse_epoch",
            max(1/n, `phase_floor`).
        phase_floor: In [0, 1]; for the floored schedule only.
        update: "alternate", EDE1's step, then EDE2's from a fresh forward; or "joint", both
            gradients from one forward, as Algorithm 1 is printed.
        phase2_updates: What the phase-2 losses move: "all", each EDE's encoders and decoder, as
            printed; "decoders", D1 and D2 alone; "ede2", D1, and all of EDE2.
        fixed_latent_target: Whether z is a constant in d(z, z_i), so that the latent term
            teaches E2 and the decoders to find z, but not E1 to shrink it. As printed: False.
        score: First term of Equation (8): "latent", ‖z − z2‖, or "image", ‖x − x2'‖.
        omega1: ω1 in [0, 1]; ω2 is 1 − ω1.
        pretext: "none", or what E1 sees of an image in training: "rotations",
            "rotations_and_shifts", or, of colour images, "rotations_shifts_and_colours"
            (`GeometricPretext`). Both EDEs then restore the image from a view of it, a head names
            the view by what E1 makes of it, and the score has terms more (`VIEW_WEIGHTS`), all
            brought to one scale by `calibrate`.
        pretext_weight: λ of the head's cross-entropy, which is added to rec_1, Equation (1).
        pretext_views: Views of each image that the head names in a step, 1 or more; the EDEs
            restore the image from the first. The head learns slowest, and a view costs E1 alone.
        memory_size: Normal images whose codes the pretext's terms remember.
        mirror: Whether every other image of a training batch is mirrored left to right. Not for
            parts that have a left and a right form.
        contamination: Share of held-out normal images that the threshold may call anomalous,
            in [0, 1).
        name: Name of the model.

    Example:
        >>> model = EDE(image_shape=(28, 28, 1), latent_dim=32)
        >>> model.compile()
        >>> model.fit(normal_images, epochs=15)
        >>> model.calibrate(normal_images, held_out=other_normal_images)
        >>> model.predict(images)["score"]

    Reference: Jia and Liu, "Anomaly detection in images with shared autoencoders", Frontiers in
    Neurorobotics 16:1046867 (2023), Sections 3.2 and 3.3.
    """

    network_names = ("encoder1", "encoder2", "decoder1", "decoder2")

    def __init__(
        self,
        image_shape,
        latent_dim=100,
        image_size=None,
        base_width=None,
        image_weight=50.0,
        latent_weight=1.0,
        norm="l1",
        schedule="inverse_epoch",
        phase_floor=0.8,
        update="alternate",
        phase2_updates="all",
        fixed_latent_target=False,
        score="latent",
        omega1=0.5,
        pretext="none",
        pretext_weight=0.5,
        pretext_views=1,
        memory_size=4096,
        mirror=False,
        contamination=0.05,
        name=None,
    ):
        image_shape = arguments.to_shape(image_shape)
        if image_size is None:
            image_size = 16 if max(image_shape[:2]) <= 16 else 32
        if base_width is None:
            base_width = 16 if image_shape[-1] == 1 else 32
        check_precision()

        # === Config ===
        self._config = {
            "image_shape": image_shape,
            "latent_dim": latent_dim,
            "image_size": image_size,
            "base_width": base_width,
            "image_weight": image_weight,
            "latent_weight": latent_weight,
            "norm": norm,
            "schedule": schedule,
            "phase_floor": phase_floor,
            "update": update,
            "phase2_updates": phase2_updates,
            "fixed_latent_target": fixed_latent_target,
            "score": score,
            "omega1": omega1,
            "pretext": pretext,
            "pretext_weight": pretext_weight,
            "pretext_views": pretext_views,
            "memory_size": memory_size,
            "mirror": mirror,
            "contamination": contamination,
        }
        arguments.check(self._config)
        for argument, value in self._config.items():
            setattr(self, argument, value)

        # === Layers ===
        self.preprocessor = networks.build_preprocessor(image_shape, self.image_size)
        sizes = (self.image_size, image_shape[-1], latent_dim, base_width)
        for network in self.network_names:
            is_encoder = network.startswith("encoder")
            build = networks.build_encoder if is_encoder else networks.build_decoder
            setattr(self, network, build(*sizes, name=network))
        self.views = None
        if pretext != "none":
            view_shape = (self.image_size, self.image_size, image_shape[-1])
            self.views = GeometricPretext(pretext, view_shape, memory_size, name="views")
            features = self.encoder1.get_layer("features").output
            outputs = [self.encoder1.output, features]
            self._observer = keras.Model(self.encoder1.inputs, outputs, name="observer")
        self.anomaly_score = AnomalyScore(self.score_weights, name="anomaly_score")

        # === Functional model: Algorithm 2 ===
        images = keras.Input(image_shape, name="images")
        x = self.preprocessor(images)
        self._latents = self.encoder1(x, training=False)
        self._terms, reconstruction = self.score_terms(x, self._latents)
        self._reconstruction = networks.resize(reconstruction, image_shape[:2])
        if self.views:
            view_terms, self._codes = self.view_terms(x)
            self._terms.update(view_terms)
        anomaly_score, label = self.anomaly_score(list(self._terms.values()))
        residual = ops.mean(ops.abs(x - reconstruction), axis=-1, keepdims=True)
        anomaly_map = ops.squeeze(networks.resize(residual, image_shape[:2]), axis=-1)
        outputs = {"score": anomaly_score, "label": label, "anomaly_map": anomaly_map}
        self._predictors = {}
        super().__init__(inputs=images, outputs=outputs, name=name)
        self.epoch = self.add_weight(
            shape=(), initializer="ones", dtype="float32", trainable=False, name="epoch"
        )

    @classmethod
    def from_recipe(cls, name, image_shape, **overrides):
        """Builds and compiles the model as a recipe says.

        Args:
            name: "default", "default_no_pretext", or "paper", the literal algorithm.
            image_shape: `(height, width, channels)` of the images.
            **overrides: Arguments to replace, the model's own or `learning_rate` and `beta_1`.

        Raises:
            InputError: The recipe does not exist, or the argument is one of `fit`.

        Example:
            >>> model = EDE.from_recipe("paper", (28, 28, 1), latent_dim=64)
        """
        own, training = recipes.get_recipe(name, image_shape, **overrides)
        adam = {argument: training.pop(argument) for argument in ("learning_rate", "beta_1")}
        if misplaced := sorted(set(overrides) & set(training)):
            raise InputError(
                f"{', '.join(misplaced)} must be given to `fit` or its data set, the model does "
                f"not train by itself. Received: from_recipe({misplaced[0]}=...)"
            )
        model = cls(image_shape, **own)
        model.compile(keras.optimizers.Adam(**adam))
        return model

    @property
    def encoders(self):
        return [getattr(self, name) for name in self.network_names if "encoder" in name]

    @property
    def decoders(self):
        return [getattr(self, name) for name in self.network_names if "decoder" in name]

    @property
    def omega2(self):
        """ω2 = 1 − ω1 of Equation (8)."""
        return 1 - self.omega1

    @property
    def equation8_weights(self):
        """The weights of the terms of Equation (8)."""
        return self.omega1, self.omega2

    @property
    def score_weights(self):
        """The weight of each term of the score, in their order."""
        if self.pretext == "none":
            return self.equation8_weights
        beside = (WEIGHT_BESIDE_VIEWS * weight for weight in self.equation8_weights)
        return *beside, *VIEW_WEIGHTS.values()

    def ede_networks(self, i):
        """What EDE i + 1 is made of, its decoder last; the pretext's head is a part of EDE1."""
        head = [self.views] if self.views and i == 0 else []
        return [*self.encoders, *head, self.decoders[i]]

    def augment(self, x):
        """A training batch in [-1, 1] as it is learned from."""
        if not self.mirror:
            return x
        # Batches are shuffled, so which images are the odd ones is chance enough.
        odd = ops.arange(ops.shape(x)[0]) % 2 == 1
        return ops.where(odd[:, None, None, None], ops.flip(x, axis=2), x)

    def observe(self, x, training):
        """E1 on a batch in [-1, 1]: `(z, λ · cross-entropy)`, z of a view of each image if there
        are views."""
        if not self.views:
            return self.encoder1(x, training=training), 0.0
        # From batch to batch the turn begins elsewhere, for data that come in the same order in
        # every epoch.
        began = self.epoch + (self.optimizer.iterations if training else 0)
        which = self.views.deal(self.pretext_views, ops.shape(x)[0], began)
        z, features = self._observer(self.views.view(x, which[0]), training=training)
        if self.pretext_views > 1:
            # In a pass of their own, so that the way back from z leads through the first views
            # alone.
            images = ops.tile(x, (self.pretext_views - 1, 1, 1, 1))
            more = self.views.view(images, ops.reshape(which[1:], (-1,)))
            features = ops.concatenate([features, self._observer(more, training=training)[1]])
        return z, self.pretext_weight * self.views.loss(features, ops.reshape(which, (-1,)))

    def regenerate(self, z, decoder, training):
        """Decodes latent vectors and encodes the image again: `(decoder(z), E2(decoder(z)))`."""
        x = decoder(z, training=training)
        return x, self.encoder2(x, training=training)

    def weigh(self, loss, x, x_i, z, z_i):
        """Equation (1), (2) or (3), a function of `losses`, with the model's α, β and norm."""
        target = ops.stop_gradient(z) if self.fixed_latent_target else z
        return loss(x, x_i, target, z_i, self.image_weight, self.latent_weight, self.norm)

    def phase1(self, x, training):
        """Equations (1) and (2) on a batch in [-1, 1], and (z, z2)."""
        z, pretext_loss = self.observe(x, training)
        x1, z1 = self.regenerate(z, self.decoder1, training)
        x2, z2 = self.regenerate(z, self.decoder2, training)
        rec_1 = self.weigh(losses.reconstruction_loss, x, x1, z, z1) + pretext_loss
        rec_2 = self.weigh(losses.reconstruction_loss, x, x2, z, z2)
        return [rec_1, rec_2], [z, z2]

    def phase2(self, x, z, z2, training):
        """Equation (3) on a batch in [-1, 1]."""
        x2p, z2p = self.regenerate(z2, self.decoder1, training)
        return self.weigh(losses.adversarial_objective, x, x2p, z, z2p)

    def score_terms(self, x, z, training=False):
        """The terms of Equation (8) for a batch in [-1, 1] and its latents E1(x), by name, and
        the reconstruction that the anomaly map shows. Scores use inference mode; `training` is
        for audits of what batch statistics would do."""
        x2, z2 = self.regenerate(z, self.decoder2, training)
        x2p, z2p = self.regenerate(z2, self.decoder1, training)
        if self.score == "image":
            first = {"x_x2p": losses.distance(x, x2p, self.norm)}
        else:
            first = {"z_z2": losses.distance(z, z2, self.norm)}
        return {**first, "z_z2p": losses.distance(z, z2p, self.norm)}, x2

    def view_terms(self, x, training=False):
        """The pretext's terms of the score for a batch in [-1, 1], and the codes that they are
        made of: what `GeometricPretext` returns."""
        return self.views(*self._observer(self.views.all_views(x), training=training))

    def get_config(self):
        return {**self._config, "image_shape": list(self.image_shape), "name": self.name}
