"""The PyTorch code that the speed is compared with does what the Keras model does."""

import functools

import keras
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


torch.set_num_threads(1)  # several would wait for each other longer than they compute
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 32, 32, 1), dtype=np.uint8)
SIZES = {"latent_dim": 6, "base_width": 4}


@pytest.fixture(scope="module")
def trained():
    """Takes four steps with the Keras model of a recipe, once for all tests.

    Returns the model, with the weights that it began with; the epoch, the steps so far and the
    losses of each step; and what is calibrated and scored after them.
    """

    @functools.cache
    def trained(recipe, **sizes):
        keras.utils.set_random_seed(0)
        model = EDE.from_recipe(recipe, (32, 32, 1), **SIZES, **sizes)
        first, steps = model.get_weights(), []
        for n in (1, 2, 3, 4):
            model.set_epoch(n)
            before = int(model.optimizer.iterations)
            found = model.train_on_batch(PIXELS, return_dict=True)
            model.reset_metrics()
            steps.append((n, before, [found["ede1_loss"], found["ede2_loss"]]))
        if not model.pretext:
            model.calibrate(PIXELS)
            after = model.predict(PIXELS, verbose=0)["score"]
        else:  # distances to what is remembered itself would be rounding errors
            model.calibrate(PIXELS[:30], held_out=PIXELS[30:])
            densities = [
                [np.array(weight) for weight in (layer.mean, layer.whitening, layer.memory)]
                for layer in (model.pretext.latent_density, model.pretext.feature_density)
            ]
            memory, residuals = model.memory, model.map_layer
            images = [np.array(w) for w in (memory.mean, memory.directions, memory.memory)]
            scales = [np.array(w).reshape(2, -1) for w in (residuals.center, residuals.scale)]
            terms = np.stack(list(model.compute_terms(PIXELS[30:]).values()), axis=1)
            after = densities, images, scales, terms
        model.set_weights(first)
        return model, steps, after

    return trained


@pytest.mark.slow
@pytest.mark.parametrize("channels_last", [False, True])
def test_the_same_steps(trained, channels_last):
    model, steps, scores = trained("paper")
    other = TorchEDE(**SIZES, channels_last=channels_last)
    copy_weights(model, other)
    for n, _, wanted in steps:
        losses = other.train_step(torch.from_numpy(PIXELS), 1 / n)
        assert losses == pytest.approx(wanted, rel=1e-3)
    np.testing.assert_allclose(other.score(torch.from_numpy(PIXELS)), scores, rtol=1e-2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # PyTorch's compiler speaks to its own developers
@pytest.mark.parametrize("compiled", [False, True])
def test_the_same_steps_of_the_default_recipe(trained, compiled, monkeypatch):
    # Captured, differentiated and run without generating C++, which takes more than a minute.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    model, steps, (densities, images, scales, terms) = trained("default", memory_size=30)
    other = TorchDefaultEDE(**SIZES, memory_size=30, compiled=compiled)
    copy_weights(model, other)
    kernel, bias = (torch.from_numpy(array) for array in model.pretext.head.get_weights())
    with torch.no_grad():
        kernel = kernel.reshape(4, 4, 16, -1).permute(2, 0, 1, 3).flatten(0, 2)
        other.head.weight.copy_(kernel.T)
        other.head.bias.copy_(bias)
    for n, before, wanted in steps:
        other.step = n + before - 1
        losses = other.train_step(torch.from_numpy(PIXELS), max(1 / n, 0.8))
        assert losses == pytest.approx(wanted, rel=1e-3)
    for density, arrays in zip(other.densities, densities, strict=True):
        density[:] = [torch.from_numpy(array) for array in arrays]
    other.images[:] = [torch.from_numpy(array) for array in images]
    other.residuals[:] = [torch.from_numpy(array) for array in scales]
    np.testing.assert_allclose(other.score(torch.from_numpy(PIXELS[30:])), terms, rtol=2e-2)
