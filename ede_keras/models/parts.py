"""The parts of an EDE that can be replaced: its four networks and its pretext."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import keras

from ede_keras.backbones.backbone import Backbone
from ede_keras.backbones.sources import load_backbone
from ede_keras.errors import InputError
from ede_keras.layers.geometric_pretext import GeometricPretext
from ede_keras.layers.image_pretext import ImagePretext
from ede_keras.layers.image_sizes import size_for_networks
from ede_keras.layers.pretext import Pretext
from ede_keras.models.arguments import EDEArguments
from ede_keras.models.spaces import FeatureSpace, PixelSpace

# A network of the user's: a layer, or a function with the arguments of `networks.build_encoder`.
Network: TypeAlias = keras.Layer | Callable[..., keras.Layer]
NETWORKS = ("encoder1", "encoder2", "decoder1", "decoder2")
# The names of the terms of Equation (8), all variants' together.
EQUATION8_TERMS = {"x_x1", "x_x2p", "z_z1", "z_z2", "z_z2p"}


def check_own_networks(own: dict[str, object], known: Sequence[str]) -> None:
    """Raises an `InputError` for a network that the variant lacks, or one that is given twice."""
    given = {name: network for name, network in own.items() if network is not None}
    if unknown := sorted(set(given) - set(known)):
        raise InputError(f"This variant has only {', '.join(known)}. Received: {unknown[0]}")
    layers = [network for network in given.values() if isinstance(network, keras.Layer)]
    if len({id(layer) for layer in layers}) < len(layers):
        raise InputError(
            "Each network must be a layer of its own. Received: the same layer for two of "
            f"{', '.join(given)}"
        )


def make_networks(
    own: dict[str, Network | None], known: Sequence[str], space: PixelSpace | FeatureSpace
) -> list[keras.Layer | None]:
    """The four networks in order; None for those that the variant does not have.

    Args:
        own: What the user gives for each of `NETWORKS`, or None.
        known: The networks that the variant has.
        space: What the model takes for its images.

    Raises:
        InputError: A network is given that the variant lacks, given twice, or has a wrong shape.
    """
    check_own_networks(own, known)
    return [make_network(name, own[name], space) if name in known else None for name in NETWORKS]


def make_network(name: str, own: Network | None, space: PixelSpace | FeatureSpace) -> keras.Layer:
    """One of the four networks.

    Args:
        name: One of `NETWORKS`.
        own: A layer to use instead of Figure 3's, or a function that builds one from the arguments
            of `networks.build_encoder`, or None.
        space: What the model takes for its images.

    Raises:
        InputError: It is not a layer, or it maps to another shape.
    """
    is_encoder = name.startswith("encoder")
    if own is None:
        own = space.builders[0 if is_encoder else 1]
    if not isinstance(own, keras.Layer) and callable(own):
        own = own(*space.network_arguments, name=name)
    if not isinstance(own, keras.Layer):
        raise InputError(
            f"`{name}` must be a Keras layer or model, or a function that builds one. "
            f"Received: {own!r}"
        )
    image, latent = (None, *space.shape), (None, *space.latent_shape)
    taken, given = (image, latent) if is_encoder else (latent, image)
    try:
        found = tuple(own(keras.KerasTensor(taken)).shape)
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(f"`{name}` must map {taken} to {given}. Received: {error}") from error
    if found != given:
        raise InputError(f"`{name}` must map {taken} to {given}. Received: output {found}")
    return own


def make_backbone(arguments: EDEArguments) -> Backbone | None:
    """The frozen network that the arguments name or hold; None if x is the image itself."""
    backbone = arguments.backbone
    return load_backbone(backbone) if isinstance(backbone, str) else backbone


def make_pretext(arguments: EDEArguments, image_shape: Sequence[int]) -> Pretext | None:
    """The pretext's layer: the given one, or the one of that name; None for "none".

    Args:
        arguments: The arguments of the model.
        image_shape: `(height, width, channels)` of the images.
    """
    pretext = arguments.pretext
    if not isinstance(pretext, str):
        if pretext is None:
            return None
        if taken := sorted(EQUATION8_TERMS & set(pretext.term_weights)):
            raise InputError(
                f"A pretext's terms must not be called {', '.join(sorted(EQUATION8_TERMS))}: these "
                f"names belong to Equation (8). Received: {taken[0]}"
            )
        # A copy, so that two models never share its weights.
        return type(pretext).from_config(pretext.get_config())
    if pretext == "none":
        return None
    size, views = arguments.image_size, arguments.pretext_views
    assert size is not None and views is not None  # as `resolve` leaves them
    if arguments.backbone:
        size = size_for_networks(image_shape)
    kind = ImagePretext if arguments.backbone else GeometricPretext
    shape = (size, size, image_shape[-1])
    return kind(pretext, shape, arguments.memory_size, views, name="pretext")
