"""The PyTorch code that the speed is compared with does what the Keras model does."""

import functools

import numpy as np
import pytest

from ede_keras import EDE

torch = pytest.importorskip("torch", reason="PyTorch is missing: pip install '.[bench]'")

from benchmarks.torch_ede import TorchDefaultEDE, TorchEDE  # noqa: E402


def copy_weights(model, other):
    """The Keras model's weights into PyTorch's networks."""
    for name, network in other.networks.items():
        layers = [layer for layer in getattr(model, name).layers if layer.weights]
        network = getattr(network, "_orig_mod", network)  # what `torch.compile` was given
        modules = [module for module in network if list(module.parameters())]
        for layer, module in zip(layers, modules, strict=True):
            arrays = [torch.from_numpy(array) for array in layer.get_weights()]
            with torch.no_grad():
                if isinstance(module, torch.nn.BatchNorm2d):
                    slots = module.weight, module.bias, module.running_mean, module.running_var
                else:
                    # Keras has height, width, in, out; of a transposed one out before in.
                    arrays[0] = arrays[0].permute(3, 2, 0, 1)
                    slots = tuple(module.parameters())
                for slot, array in zip(slots, arrays, strict=True):
                    slot.copy_(array)


@pytest.mark.slow
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_same_steps(channels_last):
    sizes = {"latent_dim": 6, "base_width": 4}
    model = EDE.from_recipe("paper", (32, 32, 1), **sizes)
    other = TorchEDE(**sizes, channels_last=channels_last)
    copy_weights(model, other)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), dtype=np.uint8)
    for n in (1, 2, 3, 4):
        model.set_epoch(n)
        found = model.train_on_batch(pixels, return_dict=True)
        model.reset_metrics()
        losses = other.train_step(torch.from_numpy(pixels), 1 / n)
        assert losses == pytest.approx([found["ede1_loss"], found["ede2_loss"]], rel=1e-3)
    model.calibrate(pixels)
    scores = model.predict(pixels, verbose=0)["score"]
    np.testing.assert_allclose(other.score(torch.from_numpy(pixels)), scores, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler speaks to its own developers
@pytest.mark.parametrize("compiled", [False, True])
def test_the_same_steps_of_the_default_recipe(compiled, monkeypatch):
    # Captured, differentiated and run without generating C++, which takes more than a minute.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    sizes = {"latent_dim": 6, "base_width": 4, "memory_size": 30}
    model = EDE.from_recipe("default", (32, 32, 1), **sizes)
    other = TorchDefaultEDE(**sizes, compiled=compiled)
    copy_weights(model, other)
    kernel, bias = (torch.from_numpy(array) for array in model.pretext.head.get_weights())
    with torch.no_grad():
        kernel = kernel.reshape(4, 4, 16, -1).permute(2, 0, 1, 3).flatten(0, 2)
        other.head.weight.copy_(kernel.T)
        other.head.bias.copy_(bias)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), dtype=np.uint8)
    for n in (1, 2, 3, 4):
        model.set_epoch(n)
        other.step = n + int(model.optimizer.iterations) - 1
        found = model.train_on_batch(pixels, return_dict=True)
        model.reset_metrics()
        losses = other.train_step(torch.from_numpy(pixels), max(1 / n, 0.8))
        assert losses == pytest.approx([found["ede1_loss"], found["ede2_loss"]], rel=1e-3)
    # Distances to what is remembered itself would be rounding errors.
    model.calibrate(pixels[:30], held_out=pixels[30:])
    for density, layer in zip(
        other.densities, (model.pretext.latent_density, model.pretext.feature_density), strict=True
    ):
        density[:] = [
            torch.from_numpy(np.array(w)) for w in (layer.mean, layer.whitening, layer.memory)
        ]
    terms = np.stack(list(model.compute_terms(pixels[30:]).values()), axis=1)
    np.testing.assert_allclose(other.score(torch.from_numpy(pixels[30:])), terms, rtol=2e-2)
