"""How many multiplications and additions an image costs."""

import math

import keras

from ede_keras import EDE


def count(networks):
    """Multiplications and additions of a forward pass of Keras networks, for an image."""
    return sum(_count_layer(layer) for network in networks for layer in network.layers)


def _count_layer(layer):
    if not hasattr(layer, "kernel"):
        return 0
    # Every weight meets each position of the smaller of a convolution's two sides.
    sides = [math.prod(tensor.shape[1:-1]) for tensor in (layer.input, layer.output)]
    return 2 * math.prod(layer.kernel.shape) * min(sides)


def count_least(image_shape):
    """What a training step and a score cost at the least, for an image of the shape.

    Returns a dict of "train, paper", "score, default" and so on.
    """
    found = {}
    for recipe in ("paper", "default"):
        model = EDE.from_recipe(recipe, image_shape)
        encode, decode = (count([network]) for network in (model.encoder1, model.decoder1))
        # Phase 1 and 2: E1, D1, E2, D2, E2, D1, E2. A score needs no x1.
        forward, score = 4 * encode + 3 * decode, 3 * encode + 2 * decode
        if views := model.pretext:
            # More views pass E1 up to its last hidden map.
            features = model.encoder1.get_layer("features").output
            observe = count([keras.Model(model.encoder1.inputs, features)])
            name_views = 2 * math.prod(views.head.kernel.shape)
            forward += (model.pretext_views - 1) * observe + model.pretext_views * name_views
            # Each view's codes: whitened, and times all that the memory holds.
            densities = (views.latent_density, views.feature_density)
            matrices = [matrix for d in densities for matrix in (d.whitening, d.memory)]
            compare = sum(2 * math.prod(matrix.shape[1:]) for matrix in matrices)
            score += views.n_views * (encode + name_views + compare)
        # And back by the weights and by the inputs.
        found |= {f"train, {recipe}": 3 * forward, f"score, {recipe}": score}
    return found
