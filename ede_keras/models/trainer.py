"""Algorithm 1: two optimizers over shared encoders, in two phases whose balance moves."""

from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from ede_keras.models import losses, schedules
from ede_keras.models.epoch_follower import with_epoch_follower
from ede_keras.utils import devices, pipeline, validation

UPDATES = ("alternate", "joint")
# Which of (EDE1, EDE2) moves the shared encoders by its phase-2 loss; decoders always move.
PHASE2_UPDATES = {"all": (True, True), "decoders": (False, False), "ede2": (False, True)}

_NO_WEIGHTS = "Sample and class weights are not supported: every image counts 1. Leave them out."


class Objectives(NamedTuple):
    """What a batch says of the EDEs, in scalars."""

    reconstructions: list  # Equations (1) and (2), one per EDE
    adversarial: Any = 0.0  # Equation (3); 0 without a phase 2


class TwoPhaseTrainer(keras.Model):
    """The training of `EDE` and its variants; they say what is minimized, this says how.

    A subclass has the attributes `update`, `phase2_updates`, `schedule`, `phase_floor`,
    `image_shape`, `preprocessor`, `epoch` (a weight) and `decoders` (a list), and the methods
    `ede_networks(i)`, what EDE i + 1 is made of, its decoder last; `augment(x)`, a training batch
    as it is learned from; `phase1(x, training)`, which gives Equations (1) and (2) and the latents
    that phase 2 begins with; and `phase2(x, *latents, training)`, Equation (3), or None.
    """

    phase2 = None

    def compile(
        self,
        optimizer=None,
        ede2_optimizer=None,
        jit_compile="auto",
        steps_per_execution=1,
        run_eagerly=False,
    ):
        """Sets an optimizer for each EDE; the losses are the model's own.

        Args:
            optimizer: EDE1's optimizer, a Keras optimizer or its name. Defaults to Adam with
                learning rate 2e-4 and `beta_1` 0.5, as the paper's parent GANomaly.
            ede2_optimizer: EDE2's. By default one like EDE1's whose learning rate is EDE1's at
                every step, so that learning-rate callbacks and schedules reach both.
            jit_compile: True compiles the step with XLA, False does not, "auto" leaves it to
                Keras: on a GPU, not on a CPU. Several devices that share a batch cannot use it.
            steps_per_execution: Batches in one call of the compiled graph.
            run_eagerly: Runs the step uncompiled, to debug it.
        """
        if optimizer is None:
            optimizer = keras.optimizers.Adam(2e-4, beta_1=0.5)
        if self.distribute_strategy.num_replicas_in_sync > 1:
            if jit_compile is True:
                raise ValueError(
                    "XLA cannot compile a step that several devices share. Use "
                    "jit_compile=False, or one device. Received: jit_compile=True under "
                    f"{type(self.distribute_strategy).__name__}"
                )
            jit_compile = False
        super().compile(
            optimizer=optimizer,
            jit_compile=jit_compile,
            steps_per_execution=steps_per_execution,
            run_eagerly=run_eagerly,
        )
        self._compile_arguments = {
            "optimizer": self.optimizer,
            "ede2_optimizer": ede2_optimizer and keras.optimizers.get(ede2_optimizer),
            "jit_compile": jit_compile,
            "steps_per_execution": steps_per_execution,
            "run_eagerly": run_eagerly,
        }
        self.ede2_optimizer = self._compile_arguments["ede2_optimizer"] or self._follower()
        # Unbuilt optimizers would be saved without their state.
        for i, optimizer in enumerate(self._optimizers()):
            if optimizer.use_ema:
                raise ValueError(
                    "Optimizers with `use_ema=True` are not supported: Keras would put the "
                    "averages of one optimizer over weights that two of them move. "
                    f"Received: {optimizer.name}"
                )
            optimizer.build(self._ede_variables(i))
        names = ["loss", *(f"ede{i + 1}_loss" for i in range(len(self.decoders)))]
        self._means = [keras.metrics.Mean(name=name) for name in names]

    def _follower(self):
        config = self.optimizer.get_config()
        config.update(name="ede2_optimizer", learning_rate=lambda: self.optimizer.learning_rate)
        return type(self.optimizer).from_config(config)

    def _optimizers(self):
        return (self.optimizer, self.ede2_optimizer)[: len(self.decoders)]

    def get_compile_config(self):
        return keras.saving.serialize_keras_object(self._compile_arguments)

    def compile_from_config(self, config):
        self.compile(**keras.saving.deserialize_keras_object(config))

    def _ede_variables(self, i):
        networks = self.ede_networks(i)
        return [variable for network in networks for variable in network.trainable_variables]

    def set_epoch(self, n):
        """Sets the training epoch n, from 1 on, that the weight of phase 1 follows.

        `fit` does this by itself (n = Keras' epoch + 1); call it in a training loop of your own.
        """
        if n < 1:
            raise ValueError(f"Epochs of the schedule count from 1. Received: n={n}")
        self.epoch.assign(n)

    @property
    def phase_weight(self):
        """w, the weight of phase 1 in Equations (6) and (7) at the present epoch; a tensor."""
        if self.schedule == "inverse_epoch":
            return schedules.inverse_epoch(self.epoch)
        return schedules.floored_inverse_epoch(self.epoch, self.phase_floor)

    def fit(
        self, x=None, y=None, batch_size=None, epochs=1, verbose="auto", callbacks=None, **kwargs
    ):
        """`keras.Model.fit` on normal images; the epoch moves the weight of the two phases.

        Args:
            x: Normal images, `(n, *image_shape)`, any numeric dtype, 0 to 255; or a
                `tf.data.Dataset` of such batches.
            y: Not used. Labels in a data set's tuples are not looked at either.
            batch_size, epochs, verbose, callbacks, **kwargs: As in `keras.Model.fit`.
        """
        validation.check_images(x, self.image_shape)
        held_out = _take_images(kwargs.get("validation_data"))
        validation.check_images(held_out, self.image_shape)
        if kwargs.get("sample_weight") is not None or kwargs.get("class_weight") is not None:
            raise ValueError(_NO_WEIGHTS)
        batch_size = batch_size or 32
        if isinstance(x, np.ndarray) and not kwargs.get("validation_split"):
            x, y = pipeline.stream(x, batch_size, kwargs.get("shuffle", True)), None
        held_out = pipeline.stream(held_out, kwargs.get("validation_batch_size") or batch_size)
        if isinstance(x, tf.data.Dataset):
            kwargs["shuffle"] = False  # Keras' default is True, of which it warns
            if devices.count_workers(self.distribute_strategy) > 1:
                # Keras 3.15 takes the mean of the workers' first batches, which neither bytes nor
                # tuples have.
                x = _as_float(x)
                held_out = None if held_out is None else _as_float(held_out)
        kwargs["validation_data"] = held_out
        callbacks = with_epoch_follower(callbacks, self)
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def evaluate(self, x=None, y=None, batch_size=None, *args, **kwargs):
        """`keras.Model.evaluate`, the losses on normal images, as `fit` takes them."""
        validation.check_images(x, self.image_shape)
        if isinstance(x, np.ndarray):
            x, y = pipeline.stream(x, batch_size or 32), None
        return super().evaluate(x, y, batch_size, *args, **kwargs)

    def train_step(self, data):
        """One batch. "joint": one forward, both EDEs' gradients at the same weights, then both
        optimizers (Algorithm 1 as printed). "alternate": EDE1's step, then, from a fresh
        forward, EDE2's."""
        x = self.augment(self._images(data))
        edes = range(len(self.decoders))
        for together in [edes] if self.update == "joint" else [[i] for i in edes]:
            self._step(x, together)
        return self._results()

    def _images(self, data):
        return self.preprocessor(_take_images(data))

    def _step(self, x, edes):
        with tf.GradientTape(persistent=True) as tape:
            reconstructions, latents = self.phase1(x, training=True)
        latents = latents if self.phase2 else []
        adversarial, *by_phase2 = self._differentiate_phase2(x, latents)
        gradients = [
            self._differentiate(tape, i, reconstructions[i], latents, *by_phase2) for i in edes
        ]
        del tape
        # TensorFlow may update a weight in place while an operation that does not lead to that
        # weight's own gradient still reads it: no update before every gradient is there.
        with tf.control_dependencies(tf.nest.flatten(gradients)):
            for i, gradient in zip(edes, gradients, strict=True):
                self._optimizers()[i].apply(gradient, self._ede_variables(i))
        self._track(Objectives(reconstructions, adversarial), edes, tf.shape(x)[0])

    def _differentiate_phase2(self, x, latents):
        """adv; its gradients by the latents that it begins with, and by the weights between, a
        dict: once for both EDEs, whose losses differ by its factor alone."""
        if not latents:
            return 0.0, [], {}
        with tf.GradientTape() as tape:
            tape.watch(latents)
            adversarial = self.phase2(x, *latents, training=True)
        weights = {weight.path: weight for i in (0, 1) for weight in self._ede_variables(i)}
        by_latents, by_weights = tape.gradient(adversarial, (latents, weights))
        return (
            adversarial,
            [
                tf.zeros_like(z) if d is None else d
                for z, d in zip(latents, by_latents, strict=True)
            ],
            {path: d for path, d in by_weights.items() if d is not None},
        )

    def _differentiate(self, tape, i, reconstruction, latents, by_latents, by_weights):
        """EDE i + 1's loss, Equation (6) or (7), by its variables."""
        # Optimizers add up the replicas' gradients; a loss is a mean over the whole batch.
        share = 1.0 / tf.distribute.get_strategy().num_replicas_in_sync
        phase1, phase2 = (
            tf.convert_to_tensor(self._weigh_phases(i, *parts))
            for parts in ((share, 0.0), (0.0, share))
        )
        weights = moved = {weight.path: weight for weight in self._ede_variables(i)}
        # Through the latents phase 2 goes back by the way of phase 1.
        seeds = [tf.cast(phase2, d.dtype) * d for d in by_latents]
        if not latents or PHASE2_UPDATES[self.phase2_updates][i]:
            gradients = tape.gradient([reconstruction, *latents], weights, [phase1, *seeds])
        else:
            gradients = tape.gradient(reconstruction, weights, phase1)
            moved = {weight.path: weight for weight in self.decoders[i].trainable_variables}
            for path, gradient in tape.gradient(latents, moved, seeds).items():
                if gradient is not None:  # D1 leads to none of the latents
                    gradients[path] += gradient
        for path in moved.keys() & by_weights.keys():
            gradients[path] += phase2 * by_weights[path]
        return list(gradients.values())

    def _weigh_phases(self, i, reconstruction, adversarial):
        """Equation (6) or (7), of losses or of their weights."""
        equation = (losses.ede1_loss, losses.ede2_loss)[i]
        return equation(reconstruction, adversarial, self.phase_weight)

    def objectives(self, x, training):
        """Algorithm 1's inner loop on a batch in [-1, 1]: `Objectives`."""
        reconstructions, latents = self.phase1(x, training)
        if not self.phase2:
            return Objectives(reconstructions)
        return Objectives(reconstructions, self.phase2(x, *latents, training))

    def test_step(self, data):
        """The same losses on held-out normal images, in inference mode."""
        x = self._images(data)
        objectives = self.objectives(x, training=False)
        self._track(objectives, range(len(self.decoders)), tf.shape(x)[0])
        return self._results()

    def _results(self):
        """The running means."""
        results = self.get_metrics_result()
        if devices.count_workers(self.distribute_strategy) == 1:
            return results
        # Keras 3.15 takes the workers' mean over an axis that a scalar does not have.
        return {name: tf.reshape(value, (1,)) for name, value in results.items()}

    def _track(self, objectives, edes, n):
        loss, *ede_losses = self._means
        reconstructions, adversarial = objectives
        if 0 in edes:
            loss.update_state(sum(reconstructions), sample_weight=n)
        for i in edes:
            ede_loss = self._weigh_phases(i, reconstructions[i], adversarial)
            ede_losses[i].update_state(ede_loss, sample_weight=n)

    @property
    def metrics(self):
        """`loss`, what both EDEs reconstruct wrongly, comparable between epochs, so that it may
        be monitored; `ede1_loss` and `ede2_loss`, Equations (6) and (7), which move with n."""
        return getattr(self, "_means", [])


def _take_images(data):
    """The images of a batch; labels are not looked at."""
    x, _, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
    if sample_weight is not None:
        raise ValueError(_NO_WEIGHTS)
    return x


def _as_float(dataset):
    return dataset.map(lambda *data: tf.cast(_take_images(data), "float32"))
