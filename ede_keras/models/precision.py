"""The precision in which networks compute in a training step."""

import contextlib
from collections.abc import Iterable, Iterator

import keras


@contextlib.contextmanager
def computing_in(precision: str, networks: Iterable[keras.Layer]) -> Iterator[None]:
    """Lets networks compute with a dtype policy of Keras within the block.

    What is traced within the block keeps it. The weights stay float32. Layers with a policy other
    than float32 keep theirs.

    Args:
        precision: One of `choices.PRECISIONS`.
        networks: The networks.
    """
    layers = [
        layer
        for network in networks
        for layer in network._flatten_layers()
        if layer.dtype_policy.name == "float32"
    ]
    for layer in layers:
        layer.dtype_policy = precision
    try:
        yield
    finally:
        for layer in layers:
            layer.dtype_policy = "float32"
