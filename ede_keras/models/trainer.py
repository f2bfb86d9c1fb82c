"""Algorithm 1: two optimizers over shared encoders, in two phases whose weights change."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ede_keras import choices
from ede_keras.models import schedules
from ede_keras.models.algorithm1 import (
    Objectives,
    compute_loss,
    compute_objectives,
    shared_gradients,
)
from ede_keras.models.arguments import TrainingArguments
from ede_keras.models.epoch_follower import with_epoch_follower
from ede_keras.models.guarded_model import check_compile_arguments, check_optimizer
from ede_keras.models.precision import computing_in
from ede_keras.utils import devices, pipeline
from ede_keras.utils.checks import check_choice

# Whether the phase-2 losses of (EDE1, EDE2) update the shared encoders; decoders always are.
_MOVES_ENCODERS = {"all": (True, True), "decoders": (False, False), "ede2": (False, True)}


class TwoPhaseTrainer(keras.Model):
    """The training of `EDE` and its variants. They define the losses; this class minimizes them.

    A subclass defines `encoders`, `decoders`, `ede_networks`, `phase1` and, unless `has_phase2` is
    False, `phase2`; it may override `augment`.
    """

    has_phase2 = True
    fix: Any  # of `GuardedModel`, which the other half inherits: Keras allows one path to it
    release: Any
    check_input: Any  # of `FeatureInput`, likewise
    prepare_training: Any
    image_shape: list[int]
    update: str
    phase2_updates: str
    schedule: str
    phase_floor: float
    phase2_form: str
    epoch: keras.Variable

    @property
    def encoders(self) -> list[keras.Layer]:
        """E1, and E2 if there is one."""
        raise NotImplementedError(f"{type(self).__name__} must define encoders.")

    @property
    def decoders(self) -> list[keras.Layer]:
        """D1, and D2 if there is a second EDE."""
        raise NotImplementedError(f"{type(self).__name__} must define decoders.")

    def ede_networks(self, i: int) -> list[keras.Layer]:
        """The networks that EDE i + 1 trains, its decoder last."""
        raise NotImplementedError(f"{type(self).__name__} must define ede_networks(i).")

    def phase1(self, x: Any, training: bool) -> tuple[list, list]:
        """Equations (1) and (2) on a batch, one scalar per EDE, and the latents for `phase2`."""
        raise NotImplementedError(f"{type(self).__name__} must define phase1(x, training).")

    def phase2(self, x: Any, latents: list, training: bool) -> Any:
        """Equation (3) on a batch, a scalar, from the latents that `phase1` returned."""
        raise NotImplementedError(f"{type(self).__name__} must define phase2, or has_phase2=False.")

    def prepare(self, images: Any) -> Any:
        """x, the networks' input, of raw images."""
        raise NotImplementedError(f"{type(self).__name__} must define prepare(images).")

    def augment(self, x: Any) -> Any:
        """The training batch after augmentation, in [-1, 1]."""
        return x

    def compile(
        self,
        optimizer: Any = None,
        ede2_optimizer: Any = None,
        jit_compile: bool | str = "auto",
        steps_per_execution: int = 1,
        run_eagerly: bool = False,
        precision: str = TrainingArguments.precision,
        **others: Any,
    ) -> None:
        """Sets an optimizer for each EDE; the losses are the model's own.

        Args:
            optimizer: EDE1's optimizer, a Keras optimizer or its name. Defaults to recipe
                "default"'s, Adam with learning rate 1e-3 and `beta_1` 0.5.
            ede2_optimizer: EDE2's optimizer. By default a copy of EDE1's whose learning rate
                follows EDE1's at every step, so that callbacks and schedules reach both.
            jit_compile: True compiles the step with XLA, False does not, "auto" leaves it to
                Keras: on a GPU, not on a CPU. Not available to devices that share a batch.
            steps_per_execution: Batches in one call of the compiled graph.
            run_eagerly: Runs the step uncompiled, to debug it.
            precision: As in `TrainingArguments`.
            **others: None of Keras' other arguments is supported.

        Raises:
            InputError: One of them is given, or an optimizer that scales the loss.
            ValueError: XLA on several devices, or an optimizer with `use_ema=True`.
        """
        check_compile_arguments((optimizer, ede2_optimizer), others)
        check_choice("precision", precision, choices.PRECISIONS)
        if optimizer is None:
            optimizer = keras.optimizers.Adam(
                TrainingArguments.learning_rate, beta_1=TrainingArguments.beta_1
            )
        jit_compile = devices.check_jit(self.distribute_strategy, jit_compile)
        self.release("optimizer", "ede2_optimizer")  # this method alone sets them, together
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
            "precision": precision,
        }
        self.ede2_optimizer = self._compile_arguments["ede2_optimizer"] or self._follower()
        # An optimizer that is not built yet would be saved without its state.
        for i, optimizer in enumerate(self._optimizers()):
            check_optimizer(optimizer)
            optimizer.build(self.ede_variables(i))
        edes = range(1, len(self.decoders) + 1)
        self._means = [keras.metrics.Mean(n) for n in ("loss", *(f"ede{i}_loss" for i in edes))]
        self.fix("optimizer", "ede2_optimizer", *TrainingArguments.names())

    def _follower(self):
        config = self.optimizer.get_config()
        config.update(name="ede2_optimizer", learning_rate=lambda: self.optimizer.learning_rate)
        return type(self.optimizer).from_config(config)

    def _optimizers(self):
        return (self.optimizer, self.ede2_optimizer)[: len(self.decoders)]

    def get_compile_config(self) -> dict | None:
        """The arguments of `compile`; None if the model is not compiled."""
        if not self.compiled:
            return None
        return keras.saving.serialize_keras_object(self._compile_arguments)

    def compile_from_config(self, config: dict) -> None:
        """Compiles the model as it was compiled when it was saved."""
        self.compile(**keras.saving.deserialize_keras_object(config))

    def ede_variables(self, i: int) -> list[keras.Variable]:
        """The weights that EDE i + 1's optimizer updates."""
        networks = self.ede_networks(i)
        return [variable for network in networks for variable in network.trainable_variables]

    def phase2_variables(self, i: int) -> list[keras.Variable]:
        """The weights of EDE i + 1 that its phase-2 loss updates, as `phase2_updates` says."""
        if _MOVES_ENCODERS[self.phase2_updates][i]:
            return self.ede_variables(i)
        return self.decoders[i].trainable_variables

    def set_epoch(self, n: int) -> None:
        """Sets the epoch n, counted from 1, for the weight of phase 1; `fit` does so by itself."""
        if n < 1:
            raise ValueError(f"Epochs of the schedule count from 1. Received: n={n}")
        self.epoch.assign(n)

    @property
    def has_adversary(self) -> bool:
        """Whether the EDEs contend in phase 2, Equations (3) to (7)."""
        return self.has_phase2 and self.phase2_form != "restoration"

    @property
    def phase_weight(self) -> Any:
        """The weight w of phase 1 in this epoch, a scalar; 1 without a phase 2."""
        if not self.has_phase2:
            return 1.0
        if self.schedule == "inverse_epoch":
            return schedules.inverse_epoch(self.epoch)
        return schedules.floored_inverse_epoch(self.epoch, self.phase_floor)

    def fit(
        self,
        x: Any = None,
        y: Any = None,
        batch_size: int | None = None,
        epochs: int = 1,
        verbose: int | str = "auto",
        callbacks: Any = None,
        **kwargs: Any,
    ) -> keras.callbacks.History:
        """`keras.Model.fit` on normal images; the epoch sets the weights of the two phases.

        Args:
            x: Normal images, `(n, *image_shape)`, any numeric dtype, 0 to 255; or a
                `tf.data.Dataset` of such batches.
            y: Not used; labels in a data set's tuples are ignored, too.
            batch_size: Images in a batch. Defaults to 32.
            epochs: Number of epochs.
            verbose: Whether to show progress.
            callbacks: Keras callbacks.
            **kwargs: More arguments of `keras.Model.fit`.

        Raises:
            InputError: The images cannot be used.
            ValueError: Sample or class weights are given.
        """
        self.check_input(x)
        held_out = pipeline.take_images(kwargs.get("validation_data"))
        self.check_input(held_out)
        if kwargs.get("sample_weight") is not None or kwargs.get("class_weight") is not None:
            raise ValueError(pipeline.NO_WEIGHTS)
        batch_size = batch_size or 32
        x, held_out = self.prepare_training(x, verbose), self.prepare_training(held_out)
        if not kwargs.get("validation_split"):
            y = None if isinstance(x, np.ndarray) else y
            x = pipeline.stream(x, batch_size, kwargs.get("shuffle", True))
        held_out = pipeline.stream(held_out, kwargs.get("validation_batch_size") or batch_size)
        if isinstance(x, tf.data.Dataset):
            kwargs["shuffle"] = False  # Keras warns about its own default, True
            if devices.count_workers(self.distribute_strategy) > 1:
                # Keras 3.15 averages the workers' first batches, which fails for bytes and tuples.
                x = pipeline.as_float(x)
                held_out = None if held_out is None else pipeline.as_float(held_out)
        kwargs["validation_data"] = held_out
        callbacks = with_epoch_follower(callbacks, self)
        return super().fit(x, y, batch_size, epochs, verbose, callbacks, **kwargs)

    def evaluate(
        self, x: Any = None, y: Any = None, batch_size: int | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        """`keras.Model.evaluate`: the losses on normal images, given as in `fit`."""
        self.check_input(x)
        x = self.prepare_training(x)
        y = None if isinstance(x, np.ndarray) else y
        x = pipeline.stream(x, batch_size or 32)
        return super().evaluate(x, y, batch_size, *args, **kwargs)

    def train_step(self, data: Any) -> dict:
        """One batch of Algorithm 1: the gradients of both EDEs, then both optimizers' updates.

        `update` "joint" computes both at the same weights, from one forward pass, as printed;
        "alternate" updates EDE1, then EDE2 from a fresh forward pass.
        """
        x = self.augment(self._images(data))
        edes = range(len(self.decoders))
        for together in [edes] if self.update == "joint" else [[i] for i in edes]:
            with computing_in(self._compile_arguments["precision"], self.encoders + self.decoders):
                # The sums of `printed_gradients`, with fewer passes.
                objectives, gradients = shared_gradients(self, x, together)
            # TensorFlow may update a weight in place while another gradient's operation still
            # reads it, so all gradients are computed before any update.
            with tf.control_dependencies(tf.nest.flatten(gradients)):
                for i, gradient in zip(together, gradients, strict=True):
                    self._optimizers()[i].apply(gradient, self.ede_variables(i))
            self._track(objectives, together, tf.shape(x)[0])
        return self._results()

    def _images(self, data):
        return self.prepare(pipeline.take_images(data))

    def objectives(self, x: Any, training: bool) -> Objectives:
        """The losses of a batch in [-1, 1]."""
        return compute_objectives(self, x, training)

    def test_step(self, data: Any) -> dict:
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
        # Keras 3.15 averages over the workers along an axis that a scalar does not have.
        return {name: tf.reshape(value, (1,)) for name, value in results.items()}

    def _track(self, objectives, edes, n):
        loss, *ede_losses = self._means
        if 0 in edes:
            loss.update_state(sum(objectives.reconstructions), sample_weight=n)
        for i in edes:
            ede_losses[i].update_state(compute_loss(self, i, objectives), sample_weight=n)

    @property
    def metrics(self) -> list[keras.Metric]:
        """Running means of the losses.

        `loss` is the sum of Equations (1) and (2). It can be compared between epochs and
        monitored. `ede1_loss` and `ede2_loss` are Equations (6) and (7), whose weights depend on
        the epoch.
        """
        return getattr(self, "_means", [])
