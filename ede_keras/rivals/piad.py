"""PIAD: two Wasserstein critics and a perceptual loss, balanced by the norms of gradients."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from ede_keras.layers import networks
from ede_keras.rivals import heads
from ede_keras.rivals.adversarial import Adversarial, Turn
from ede_keras.rivals.perceptual import Perceptual
from ede_keras.rivals.rival import Training

# Updates of the critics for each one of encoder and decoder.
CRITIC_STEPS = 2
# The weights of (‖∇C‖ − 1)² and of C² in a critic's loss.
GRADIENT_PENALTY, NORM_PENALTY = 10.0, 1e-3
# The weights of the perceptual loss are measured in every so many steps, and move by this share of
# the way to what is measured. They stay within these bounds.
BALANCE_EVERY, BALANCE_RATE = 10, 0.05
LEAST_WEIGHT, HIGHEST_WEIGHT = 1e-3, 1e3


@keras.saving.register_keras_serializable(package="ede_keras")
class PIAD(Perceptual, Adversarial):
    """Perceptual image anomaly detection: E and G map images to N(0, I) and back.

    Critics C of images and of latent vectors minimize mean C(fake) − mean C(real)
    + 10 mean (‖∇C‖ − 1)² + 0.001 mean C²; fake are G(u), u from N(0, I), and E(x). E minimizes
    −mean C(E(x)) + λᴱ L, and G minimizes −mean C(G(u)) + λᴳ L with the relative perceptual L1 loss
    L of x and G(E(x)), see `Perceptual`. Each λ is the median over the kernels of its network of
    the ratio of both gradients' norms, so both losses move it equally. The score is L.

    Differences from the paper: the features are a map of stride 16 of EfficientNet-Lite0, which
    sees images enlarged to 64 pixels, not a map of VGG-19; their mean and deviation are those of
    training images, not of ImageNet. E and G are EDE's, E without a tanh; G's batch normalization
    has the statistics of E(x), also for u. The critics see no statistics of a batch. λ follows by a
    running mean of the ratios, measured every 10 steps, not of the norms in every 100. Both critics
    are updated twice on the same images, and all networks have one learning rate, which is higher.
    The paper trains for 50,000 to 100,000 steps of 32 images.

    Reference: Tuluptceva et al., "Perceptual image anomaly detection", ACPR 2019.
    """

    training = Training(epochs=10, learning_rate=5e-4, beta_1=0.5)

    def build_networks(self) -> None:
        """E, G, the critics of images and of latent vectors, and the weights of L."""
        size, channels, latent_dim, width = self.network_arguments
        trunk = heads.build_with_head(size, channels, latent_dim, width, "trunk")
        self.encoder = keras.Model(trunk.input, trunk.outputs[1], name="encoder")
        self.decoder = networks.build_decoder(*self.network_arguments, name="decoder")
        images = keras.Input((size, size, channels))
        halvings = [keras.layers.Conv2D(k * width, **networks.HALVING) for k in (1, 2, 4)]
        self.image_critic = _build_critic(images, halvings, "image_critic")
        latents = keras.Input((latent_dim,))
        dense = [keras.layers.Dense(4 * width) for _ in range(2)]
        self.latent_critic = _build_critic(latents, dense, "latent_critic")
        self.balance = Balance(name="balance")
        self.noise = keras.random.SeedGenerator(0)

    @property
    def turns(self) -> list[Turn]:
        """E and G; then both critics."""
        return [
            Turn([self.encoder, self.decoder], self.generator_loss),
            Turn([self.image_critic, self.latent_critic], self.critic_loss, CRITIC_STEPS),
        ]

    def train_step(self, data: Any) -> dict:
        """One update for each turn; in every tenth step λᴱ and λᴳ are measured first."""
        step = self.optimizer.iterations
        tf.cond(
            step % BALANCE_EVERY == 0,
            lambda: self.measure_balance(self.prepare_batch(data), step == 0),
            lambda: None,
        )
        return super().train_step(data)

    def draw(self, z: Any) -> Any:
        """Vectors u of N(0, I), as many as the latent vectors z."""
        return keras.random.normal(ops.shape(z), seed=self.noise)

    def losses(self, x: Any, share: Any = 1.0) -> tuple[Any, Any, Any]:
        """`(−mean C(E(x)), −mean C(G(u)), L)`; the gradient of L in E is multiplied by a share."""
        z = self.encoder(x, training=True)
        latents = share * z + ops.stop_gradient((1 - share) * z)
        again = self.decoder(latents, training=True)
        return (
            -ops.mean(self.latent_critic(z)),
            -ops.mean(self.image_critic(self.decoder(self.draw(z), training=False))),
            ops.mean(self.perceptual_loss(x, again)),
        )

    def generator_loss(self, x: Any) -> Any:
        """The losses of E and of G; the gradient of L has the weight λᴱ in E and λᴳ in G."""
        of_encoder, of_decoder = ops.unstack(self.balance.weight, 2)
        on_latents, on_images, perceptual = self.losses(x, of_encoder / of_decoder)
        return on_latents + on_images + of_decoder * perceptual

    def critic_loss(self, x: Any) -> Any:
        """The losses of both critics; E and G are not trained by it."""
        z = ops.stop_gradient(self.encoder(x, training=True))
        fake = ops.stop_gradient(self.decoder(self.draw(z), training=False))
        images = self.wasserstein_loss(self.image_critic, x, fake)
        return images + self.wasserstein_loss(self.latent_critic, self.draw(z), z)

    def wasserstein_loss(self, critic: keras.Model, real: Any, fake: Any) -> Any:
        """A critic's loss: mean C(fake) − mean C(real), with both penalties."""
        shape = (ops.shape(real)[0], *[1] * (len(real.shape) - 1))
        share = keras.random.uniform(shape, seed=self.noise)
        between = share * real + (1 - share) * fake
        on_real, on_fake = critic(real), critic(fake)
        return (
            ops.mean(on_fake)
            - ops.mean(on_real)
            + GRADIENT_PENALTY * heads.gradient_penalty(critic, between)
            + NORM_PENALTY * (ops.mean(ops.square(on_real)) + ops.mean(ops.square(on_fake)))
        )

    def measure_balance(self, x: Any, is_first: Any) -> None:
        """Moves λᴱ and λᴳ towards the ratios of gradients on a batch; the first ones are taken."""
        with tf.GradientTape(persistent=True) as tape:
            on_latents, on_images, perceptual = self.losses(x)
        found = []
        for network, adversarial in ((self.encoder, on_latents), (self.decoder, on_images)):
            kernels = [v for v in network.trainable_variables if v.path.endswith("kernel")]
            norms, other = (
                ops.stack([tf.norm(gradient) for gradient in tape.gradient(loss, kernels)])
                for loss in (adversarial, perceptual)
            )
            found.append(ops.median(norms / ops.maximum(other, 1e-12)))
        rate = ops.where(is_first, 1.0, BALANCE_RATE)
        self.balance.move(ops.stack(found), rate)


def _build_critic(inputs, layers, name):
    x = inputs
    for layer in layers:
        x = keras.layers.LeakyReLU(negative_slope=networks.LEAKY_SLOPE)(layer(x))
    return keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(x)), name=name)


class Balance(keras.layers.Layer):
    """The weights λᴱ and λᴳ, which are saved for training that goes on."""

    def __init__(self, **kwargs: Any):
        super().__init__(**{"dtype": "float32", **kwargs})
        self.weight = self.add_weight((2,), "ones", trainable=False, name="weight")
        self.built = True

    def move(self, found: Any, rate: Any) -> None:
        """Moves the weights by a share of the way to what was found."""
        found = ops.clip(found, LEAST_WEIGHT, HIGHEST_WEIGHT)
        self.weight.assign(self.weight + rate * (found - self.weight))
