"""The base of methods whose networks are trained in turns, some against others."""

from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from ede_keras.rivals.rival import Rival


class Turn(NamedTuple):
    """Updates within a step: of these networks, by this loss of a batch x in [-1, 1].

    They are left out while `pause`, a weight, is above 0.
    """

    networks: list[keras.Layer]
    loss: Callable[[Any], Any]
    updates: int = 1
    pause: keras.Variable | None = None


class Adversarial(Rival):
    """A method that is trained in turns, each with an optimizer of its own.

    A subclass defines `turns`. The first turn has the model's optimizer, and its loss is the one
    that is shown; the other turns have copies of that optimizer.
    """

    @property
    def turns(self) -> list[Turn]:
        """The updates of a step, in order; the networks of each turn are its own."""
        raise NotImplementedError(f"{type(self).__name__} must define turns.")

    @property
    def trained_networks(self) -> list[keras.Layer]:
        """The networks of the first turn."""
        return self.turns[0].networks

    def compile(self, optimizer: Any = None, **kwargs: Any) -> None:
        """Sets the optimizer of the first turn, and a copy of it for each other one."""
        super().compile(optimizer or self.make_optimizer(), **kwargs)
        self.optimizer.build(_weights(self.turns[0]))
        self.other_optimizers = []
        for number, turn in enumerate(self.turns[1:], start=2):
            config = {**self.optimizer.get_config(), "name": f"optimizer_{number}"}
            other = type(self.optimizer).from_config(config)
            other.build(_weights(turn))
            self.other_optimizers.append(other)

    def get_compile_config(self) -> dict | None:
        """The optimizer of the first turn; None if the model is not compiled."""
        if not self.compiled:
            return None
        return {"optimizer": keras.saving.serialize_keras_object(self.optimizer)}

    def compile_from_config(self, config: dict) -> None:
        """Compiles the model as it was compiled when it was saved."""
        self.compile(keras.saving.deserialize_keras_object(config["optimizer"]))

    def train_step(self, data: Any) -> dict:
        """The updates of each turn, all on the same images."""
        x = self.prepare_batch(data)
        optimizers = (self.optimizer, *self.other_optimizers)
        losses = []
        for turn, optimizer in zip(self.turns, optimizers, strict=True):
            losses.append([_update(turn, optimizer, x) for _ in range(turn.updates)][-1])
        self.mean_loss.update_state(losses[0], sample_weight=tf.shape(x)[0])
        return self.get_metrics_result()


def _weights(turn: Turn) -> list[keras.Variable]:
    return [v for network in turn.networks for v in network.trainable_variables]


def _update(turn: Turn, optimizer: keras.Optimizer, x: Any) -> Any:
    """The turn's loss, after an update; 0 if it pauses, which counts as an iteration too."""

    def update() -> Any:
        with tf.GradientTape() as tape:
            loss = turn.loss(x)
        optimizer.apply(tape.gradient(loss, _weights(turn)), _weights(turn))
        return loss

    def leave_out() -> Any:
        optimizer.iterations.assign_add(1)
        return tf.constant(0.0)

    if turn.pause is None:
        return update()
    return tf.cond(turn.pause > 0, leave_out, update)
