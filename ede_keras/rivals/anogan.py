"""AnoGAN in its fast form: a GAN of normal images, and an encoder into its latent space."""

from collections.abc import Mapping
from typing import Any, ClassVar

import keras
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals import heads
from ede_keras.rivals.adversarial import Adversarial, Turn
from ede_keras.rivals.rival import Training

# The share of the epochs in which the GAN is trained; then it is fixed, for the encoder.
GAN_TRAINING = 0.6
# The weight of the gradient penalty in the critic's loss.
PENALTY = 10.0
# κ, the weight of the residual of features, in the encoder's loss and in the score.
KAPPA = 1.0


@keras.saving.register_keras_serializable(package="ede_keras")
class AnoGAN(Adversarial):
    """f-AnoGAN, the fast form of AnoGAN: a generator G, a critic D and an encoder E into G's space.

    G and D are a Wasserstein GAN with a gradient penalty: D minimizes
    D(G(z)) − D(x) + 10 (‖∇D(x̃)‖ − 1)², with z ~ N(0, 1) and x̃ between x and G(z); G minimizes
    −D(G(z)). E minimizes ‖x − G(E(x))‖² + κ ‖f(x) − f(G(E(x)))‖², each a mean over elements, where
    f is D's last hidden map ("izi_f"). That sum is also the score. For the last epochs G and D are
    fixed.

    Differences from the paper: E is trained from the first epoch, beside G and D, and goes on alone
    when they are fixed; D has one update for each of G, not five; EDE's convolutions in place of
    residual blocks; fewer updates (the authors' code has 50,000 of the encoder alone). The first
    AnoGAN, with 500 steps in latent space for each image it scores, is not implemented.

    References: Schlegl et al., "f-AnoGAN: Fast unsupervised anomaly detection with generative
    adversarial networks", Medical Image Analysis 54, 2019; Schlegl et al., "Unsupervised anomaly
    detection with generative adversarial networks to guide marker discovery", IPMI 2017.
    """

    training = Training(epochs=40, learning_rate=2e-4, beta_1=0.5)
    default_latent_dim = 128
    score_weights: ClassVar[Mapping[str, float]] = {"residual": 1.0, "features": KAPPA}

    def build_networks(self) -> None:
        """G, D with its features, E, and the weight that says whether G and D are fixed."""
        size, channels, latent_dim, width = self.network_arguments
        self.generator = networks.build_decoder(*self.network_arguments, name="generator")
        self.critic = _build_critic(size, channels, width)
        self.encoder = heads.build_with_head(size, channels, latent_dim, width, "encoder")
        self.phase = keras.layers.Layer(name="phase")
        self.phase.add_weight((), "zeros", trainable=False, name="gan_is_fixed")
        self.phase.built = True
        self.noise = keras.random.SeedGenerator(0)

    @property
    def gan_is_fixed(self) -> keras.Variable:
        """The weight that is 1 from the epoch on in which G and D are no longer trained."""
        return self.phase.weights[0]

    @property
    def turns(self) -> list[Turn]:
        """The encoder; then the generator and the critic, until they are fixed."""
        return [
            Turn([self.encoder], self.encoder_loss),
            Turn([self.generator], self.generator_loss, pause=self.gan_is_fixed),
            Turn([self.critic], self.critic_loss, pause=self.gan_is_fixed),
        ]

    def make_callback(self, images: Any, epochs: int) -> keras.callbacks.Callback:
        """Fixes G and D after their share of the epochs."""
        del images
        before = max(round(GAN_TRAINING * epochs), 1)

        def fix_gan(epoch: int, logs: Any) -> None:
            del logs
            self.gan_is_fixed.assign(float(epoch >= before))

        return keras.callbacks.LambdaCallback(on_epoch_begin=fix_gan)

    def generate(self, x: Any) -> Any:
        """As many images of random z as x has."""
        z = keras.random.normal((ops.shape(x)[0], self.latent_dim), seed=self.noise)
        return self.generator(z, training=True)

    def generator_loss(self, x: Any) -> Any:
        """−D(G(z)), averaged over the batch."""
        _, value = self.critic(self.generate(x), training=True)
        return -ops.mean(value)

    def critic_loss(self, x: Any) -> Any:
        """D(G(z)) − D(x) and the gradient penalty, averaged over the batch."""
        fake = ops.stop_gradient(self.generate(x))
        _, of_fake = self.critic(fake, training=True)
        _, of_real = self.critic(x, training=True)
        share = keras.random.uniform((ops.shape(x)[0], 1, 1, 1), seed=self.noise)
        mixed = fake + share * (x - fake)
        penalty = heads.gradient_penalty(lambda a: self.critic(a, training=True)[1], mixed)
        return ops.mean(of_fake) - ops.mean(of_real) + PENALTY * penalty

    def compare(self, x: Any, training: bool) -> tuple[dict[str, Any], Any, Any]:
        """The two residuals `(n,)`, z = E(x), and G(z); only E may be in training mode."""
        _, z = self.encoder(x, training=training)
        again = self.generator(z, training=False)
        of_x, _ = self.critic(x, training=False)
        of_again, _ = self.critic(again, training=False)
        pairs = {"residual": (x, again), "features": (of_x, of_again)}
        terms = {k: ops.mean(ops.square(a - b), axis=(1, 2, 3)) for k, (a, b) in pairs.items()}
        return terms, z, again

    def encoder_loss(self, x: Any) -> Any:
        """The residual of images and κ times that of features, averaged over the batch."""
        terms, _, _ = self.compare(x, training=True)
        return ops.mean(sum(self.score_weights[name] * term for name, term in terms.items()))

    def score_terms(self, x: Any) -> tuple[dict[str, Any], Any, Any]:
        """The two residuals, z and G(z)."""
        return self.compare(x, training=False)


def _build_critic(image_size: int, channels: int, base_width: int) -> keras.Model:
    """As a discriminator, without batch statistics, for the penalty is one of single images."""
    images = keras.Input((image_size, image_size, channels), name="images")
    x = images
    for factor in (1, 2, 4):
        x = keras.layers.Conv2D(factor * base_width, **networks.HALVING)(x)
        if factor > 1:
            x = keras.layers.GroupNormalization(groups=1)(x)
        x = keras.layers.LeakyReLU(negative_slope=networks.LEAKY_SLOPE)(x)
    value = keras.layers.Dense(1)(keras.layers.Flatten()(x))
    return keras.Model(images, [x, value], name="critic")
