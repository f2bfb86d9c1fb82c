"""Pictures of a chosen number of bytes, for a page that holds many of them."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image

LONGEST = 400  # pixels of a side
# Small images are enlarged up to this side, so that lines drawn on them are thin.
ENLARGED = 160
# A picture gets so many pixels that this many bits for each fill its room: JPEG at quality 50 takes
# about as many for a photo with noise.
BITS_PER_PIXEL = 1.5
QUALITIES = (85, 75, 65, 55, 45, 35, 25, 15, 5)


def choose_size(size: Sequence[int], n_bytes: float) -> tuple[int, int]:
    """Chooses the size of a picture.

    Args:
        size: `(height, width)` of the image.
        n_bytes: The room for the picture.

    Returns:
        `(height, width)`, smaller than the image; or the image's own or a whole multiple of it, if
        there is room.
    """
    room = math.sqrt(8 * n_bytes / BITS_PER_PIXEL / math.prod(size))
    scale = min(room, LONGEST / max(size))
    if scale >= 1:
        scale = max(math.floor(min(scale, ENLARGED / max(size))), 1)
    height, width = (max(round(side * scale), 1) for side in size)
    return height, width


def resize(image: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """Resizes an image; enlarging repeats pixels.

    Args:
        image: Array `(h, w, 1 or 3)` of any numeric dtype, 0 to 255.
        size: `(height, width)` of the result.

    Returns:
        uint8 array of that size, with the channels of the image.
    """
    pixels = np.clip(np.nan_to_num(np.round(image)), 0, 255).astype("uint8")
    height, width = size
    method = Image.Resampling.NEAREST if height >= len(image) else Image.Resampling.BOX
    resized = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels).resize(
        (width, height), method
    )
    return np.asarray(resized).reshape(height, width, -1)


def encode(pixels: np.ndarray, n_bytes: float) -> bytes:
    """Encodes a picture as JPEG, in the best quality that fits.

    Args:
        pixels: uint8 `(h, w, 1 or 3)`.
        n_bytes: The room for the picture.

    Returns:
        The file. If even the lowest quality needs more room, it is of the lowest.
    """
    picture = Image.fromarray(pixels.squeeze(-1) if pixels.shape[-1] == 1 else pixels)
    for quality in QUALITIES:
        file = io.BytesIO()
        # Without subsampling: thin lines keep their colour.
        picture.save(file, "jpeg", quality=quality, subsampling=0, optimize=True)
        if file.tell() <= n_bytes:
            break
    return file.getvalue()
