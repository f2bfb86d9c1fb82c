"""Rejects what Keras would accept although it has no effect on a detector, or harms it."""

from collections.abc import Iterable, Mapping
from typing import Any

import keras

from ede_keras.errors import InputError
from ede_keras.models.arguments import TrainingArguments

# What to do instead of setting an attribute; for all others: build another model.
_REMEDIES = {
    "threshold": "call `set_threshold(value)`",
    "pixel_threshold": "call `calibrate`",
    "optimizer": "call `compile(optimizer=...)`",
    "ede2_optimizer": "call `compile(ede2_optimizer=...)`",
    **dict.fromkeys(TrainingArguments.names(), "pass it to `fit_recipe`, `compile` or `fit`"),
}


class GuardedModel(keras.Model):
    """A model with attributes that cannot be changed, because its graph was built from them."""

    _fixed: frozenset[str] = frozenset()

    def fix(self, *names: str) -> None:
        """Makes these attributes read-only."""
        self._fixed = self._fixed | set(names)

    def release(self, *names: str) -> None:
        """Makes these attributes writable again."""
        self._fixed = self._fixed - set(names)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._fixed:
            remedy = _REMEDIES.get(name, f"build another one with `{name}=...`")
            raise AttributeError(
                f"`{name}` cannot be changed on a built {type(self).__name__}, because that would "
                f"have no effect: {remedy}. Received: {name}={value!r:.60}"
            )
        super().__setattr__(name, value)

    def save(self, filepath: Any, *args: Any, **kwargs: Any) -> None:
        """`keras.Model.save`; refuses Keras' older format, which cannot be loaded again."""
        if str(filepath).lower().endswith((".h5", ".hdf5")):
            raise InputError(
                f"Expected a file name that ends in .keras, Keras' own format. Received: {filepath}"
            )
        super().save(filepath, *args, **kwargs)

    def quantize(self, *args: Any, **kwargs: Any) -> None:
        """Not supported: scores are small differences."""
        raise InputError(
            "Quantization is not supported: scores are small differences, which need the full "
            "precision of float32. Export the model for edge devices instead, with "
            "export_savedmodel(..., formats=['litert'])."
        )


def check_compile_arguments(optimizers: Iterable[Any], others: Mapping[str, Any]) -> None:
    """Raises an `InputError` for arguments that `compile` of a detector does not support.

    Args:
        optimizers: The optimizers that are given.
        others: Those of Keras' arguments that `TwoPhaseTrainer.compile` does not have.
    """
    for name, value in others.items():
        if value is not None:
            raise InputError(
                f"`compile` does not take `{name}`: the model has its own losses and metrics. To "
                f"add a loss, override `extra_loss` in a subclass. Received: {name}={value!r}"
            )
    for optimizer in optimizers:
        if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
            raise InputError(
                "Loss scaling is only for float16, which is not supported: pass the inner "
                f"optimizer. Received: {type(optimizer).__name__}"
            )


def check_optimizer(optimizer: keras.Optimizer) -> None:
    """Raises a `ValueError` for an optimizer that averages weights."""
    if optimizer.use_ema:
        raise ValueError(
            "Optimizers with `use_ema=True` are not supported: Keras would overwrite weights that "
            f"two optimizers update with the averages of one. Received: {optimizer.name}"
        )
