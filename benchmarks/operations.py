"""How many multiplications and additions an image costs."""

import numpy as np

from ede_keras import EDE


def count(networks):
    """Multiplications and additions of a forward pass of Keras networks, for an image."""
    operations = 0
    for network in networks:
        for layer in network.layers:
            kernel = getattr(layer, "kernel", None)
            if kernel is None:
                continue
            # Every weight meets each position of the smaller of a convolution's two sides.
            sides = [int(np.prod(tensor.shape[1:-1])) for tensor in (layer.input, layer.output)]
            operations += 2 * int(np.prod(kernel.shape)) * min(sides)
    return operations


def count_least(image_shape):
    """What a training step and a score of the paper's recipe cost at the least, for an image of
    the shape: `{"train": ..., "score": ...}`."""
    model = EDE.from_recipe("paper", image_shape)
    encode, decode = (count([network]) for network in (model.encoder1, model.decoder1))
    # Phase 1 and 2: E1, D1, E2, D2, E2, D1, E2; and back by the weights and by the inputs. A score
    # needs no x1.
    return {"train": 3 * (4 * encode + 3 * decode), "score": 3 * encode + 2 * decode}
