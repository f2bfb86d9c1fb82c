"""Forms of phase 2 that `benchmarks.phase2` compares, beside those that the package has.

Each adds a loss to phase 1 of each EDE, and the loss moves that EDE's decoder alone. x̃ is a damaged
image, w the weight of phase 1, `rec_i` Equation (1) or (2), and d the distance of Equation (1).
"""

import keras
import tensorflow as tf

from ede_keras.models import losses, schedules
from ede_keras.models.algorithm1 import Objectives
from ede_keras.models.ede import EDE

# How many times as high as an error of phase 1 EDE1 drives another error, and no further.
MARGIN = 3.0


class StudiedForm(EDE):
    """An EDE whose phase 2 a subclass defines by `decoder_losses`."""

    has_phase2 = False  # that of the package

    def decoder_losses(self, x, rec, latents, w):
        """The losses `(for D1, for D2)` of a batch x in [-1, 1]; None leaves a decoder alone."""
        raise NotImplementedError

    def train_step(self, data):
        """Both EDEs' gradients at the same weights, then both updates."""
        x = self.augment(self._images(data))
        w = schedules.floored_inverse_epoch(self.epoch, self.phase_floor)
        with tf.GradientTape(persistent=True) as tape:
            rec, latents = self.phase1(x, training=True)
            more = self.decoder_losses(x, rec, latents, w)
            weighed = [self.phase1_weight(w) * loss for loss in rec]
        gradients = [self._join(tape, i, weighed[i], more[i]) for i in range(len(rec))]
        with tf.control_dependencies(tf.nest.flatten(gradients)):
            for i, gradient in enumerate(gradients):
                self._optimizers()[i].apply(gradient, self.ede_variables(i))
        self._track(Objectives(rec), range(len(rec)), tf.shape(x)[0])
        return self._results()

    def _join(self, tape, i, phase1, phase2):
        variables = self.ede_variables(i)
        total = tape.gradient(phase1, variables)
        if phase2 is None:
            return total
        moved = self.decoders[i].trainable_variables
        more = dict(zip(map(id, moved), tape.gradient(phase2, moved), strict=True))
        more = {key: gradient for key, gradient in more.items() if gradient is not None}
        return [
            g + more[id(v)] if id(v) in more else g for g, v in zip(total, variables, strict=True)
        ]

    def phase1_weight(self, w):
        """The factor of Equations (1) and (2)."""
        return w

    def differ(self, x, decoder, z):
        """d(x, decoder(z)), averaged over the batch."""
        return tf.reduce_mean(losses.distance(x, decoder(z, training=True), self.norm))


class Balanced(StudiedForm):
    """D1 is moved by −k adv, D2 by adv / 10, and k follows the balance of adv and rec_1.

    k ← clip(k + `PACE` (`GAMMA` − adv / rec_1), 0, 1). The controller is that of BEGAN
    (Berthelot et al., 2017), but relative to rec_1, whose scale differs between data sets.
    """

    GAMMA, PACE = 0.5, 0.01

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.k = self.add_weight(shape=(), initializer="zeros", trainable=False, name="k")

    def phase1_weight(self, w):
        """1: k alone bounds phase 2."""
        return 1.0

    def decoder_losses(self, x, rec, latents, w):
        """`(−k adv, adv / 10)`."""
        adversarial = self.phase2(x, latents, training=True)
        k = tf.identity(self.k)
        step = self.PACE * (self.GAMMA - tf.stop_gradient(adversarial / rec[0]))
        self.k.assign(tf.clip_by_value(k + step, 0.0, 1.0))
        return -k * adversarial, 0.1 * adversarial


class Margin(StudiedForm):
    """EDE1 drives its error on x̃ up to a margin; EDE2 restores x from x̃.

    D1: (1 − w) max(0, m − d(x̃, D1(E1(x̃)))), m `MARGIN` times d(x, D1(z)). D2: (1 − w) d(x,
    D2(E1(x̃))). STEAL Net (Astrid et al., 2021) maximizes such an error, without a margin.
    """

    def decoder_losses(self, x, rec, latents, w):
        """`(the hinge, restoration)`."""
        damaged = self.space.damage(x, 1.0, self.optimizer.iterations)
        z = tf.stop_gradient(self.encoder1(damaged, training=True))
        usual = tf.stop_gradient(self.differ(x, self.decoder1, latents[0]))
        hinge = tf.nn.relu(MARGIN * usual - self.differ(damaged, self.decoder1, z))
        return (1 - w) * hinge, (1 - w) * self.differ(x, self.decoder2, z)


class KeptBehind(StudiedForm):
    """EDE1 tells x from what D2 made of it after the first epoch, up to a margin.

    D1: −(1 − w) min(d(x, D1(E2(D2'(z)))), m), D2' the D2 of epoch 1 and m `MARGIN` times d(x,
    D2(z)). D2 has phase 1 alone. After "Old is Gold" (Zaheer et al., CVPR 2020).
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.old_decoder = keras.models.clone_model(self.decoder2)
        self.old_decoder.trainable = False

    def set_epoch(self, n):
        """Sets the epoch; the second one starts with a copy of D2."""
        super().set_epoch(n)
        if n == 2:
            self.old_decoder.set_weights(self.decoder2.get_weights())

    def decoder_losses(self, x, rec, latents, w):
        """`(the bounded contest, None)`."""
        old = self.encoder2(self.old_decoder(latents[0], training=False), training=True)
        highest = MARGIN * tf.stop_gradient(self.differ(x, self.decoder2, latents[0]))
        contest = tf.minimum(self.differ(x, self.decoder1, tf.stop_gradient(old)), highest)
        is_there = tf.cast(self.epoch > 1, contest.dtype)
        return -is_there * (1 - w) * contest, None


class Mined(StudiedForm):
    """Both EDEs learn to give back latent vectors that they do not yet give back.

    D_i: (1 − w) d(l, E2(D_i(l))). l begins uniform in [-1, 1] and takes `STEPS` steps of length
    `PACE` that raise d(l, E2(D_i(l))). After OCGAN's informative negatives (Perera et al., 2019).
    """

    STEPS, PACE = 3, 0.1

    def decoder_losses(self, x, rec, latents, w):
        """`(of D1, of D2)`."""
        seed = tf.stack([9, tf.cast(self.optimizer.iterations, tf.int32)])
        start = tf.random.stateless_uniform(tf.shape(latents[0]), seed, -1.0, 1.0)
        return tuple((1 - w) * self._miss(self._mine(start, d), d) for d in self.decoders)

    def _miss(self, mined, decoder):
        back = self.encoder2(decoder(mined, training=True), training=True)
        return tf.reduce_mean(losses.distance(mined, back, self.norm))

    def _mine(self, mined, decoder):
        for _ in range(self.STEPS):
            with tf.GradientTape() as tape:
                tape.watch(mined)
                missed = self._miss(mined, decoder)
            step = self.PACE * tf.sign(tape.gradient(missed, mined))
            mined = tf.clip_by_value(mined + step, -1, 1)
        return tf.stop_gradient(mined)
