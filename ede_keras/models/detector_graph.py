"""The tensors that every detector has, by name."""

import dataclasses
from typing import Any

from keras import ops


@dataclasses.dataclass(frozen=True)
class DetectorGraph:
    """The tensors of a detector's functional graph, for n images.

    Args:
        images: The input, `(n, height, width, channels)`, 0 to 255.
        terms: The terms of the score, `(n,)` by name.
        latents: z = E1(x), `(n, ...)`.
        reconstruction: The images that the anomaly map compares with, in [-1, 1], at full size;
            None if a backbone's features are reconstructed instead.
        anomaly_map: `(n, height, width)`.
        codes: What `Pretext.adapt` learns from, tensors `(n, ...)` by name.
        features: A backbone's features of the images, `(n, length)`; None without a backbone.
        maps: What the anomaly map is made from, `(n, h, w)` by name.
    """

    images: Any
    terms: dict[str, Any]
    latents: Any
    reconstruction: Any
    anomaly_map: Any
    codes: dict[str, Any] = dataclasses.field(default_factory=dict)
    features: Any = None
    maps: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def map_maxima(self) -> Any:
        """The highest value of each anomaly map, `(n,)`."""
        return ops.max(self.anomaly_map, axis=(1, 2))
