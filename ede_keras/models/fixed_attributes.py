"""Refuses what would have no effect: setting an attribute that a built model no longer reads."""

from typing import Any

import keras

from ede_keras.models.arguments import TrainingArguments

# What to do instead of setting an attribute; for all others: build another model.
_REMEDIES = {
    "threshold": "call `set_threshold(value)`",
    "optimizer": "call `compile(optimizer=...)`",
    "ede2_optimizer": "call `compile(ede2_optimizer=...)`",
    **dict.fromkeys(TrainingArguments.names(), "pass it to `fit_recipe`, `compile` or `fit`"),
}


class FixedAttributes(keras.Model):
    """A model some of whose attributes cannot be set, because its graph is made from them."""

    _fixed: frozenset[str] = frozenset()

    def fix(self, *names: str) -> None:
        """From now on these attributes cannot be set."""
        self._fixed = self._fixed | set(names)

    def release(self, *names: str) -> None:
        """These attributes can be set again."""
        self._fixed = self._fixed - set(names)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self._fixed:
            remedy = _REMEDIES.get(name, f"build another one with `{name}=...`")
            raise AttributeError(
                f"`{name}` cannot be set on a built {type(self).__name__}, where it would have no "
                f"effect: {remedy}. Received: {name}={value!r:.60}"
            )
        super().__setattr__(name, value)
