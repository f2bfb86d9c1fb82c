"""The PyTorch code that the speed is compared with does what the Keras model does."""

import numpy as np
import pytest

from ede_keras import EDE

torch = pytest.importorskip("torch", reason="PyTorch is missing: pip install '.[bench]'")

from benchmarks.torch_ede import TorchEDE  # noqa: E402


def copy_weights(model, other):
    """The Keras model's weights into PyTorch's networks."""
    for name, network in other.networks.items():
        layers = [layer for layer in getattr(model, name).layers if layer.weights]
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
    model.compile()
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
