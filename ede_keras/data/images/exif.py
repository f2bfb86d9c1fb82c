"""The EXIF orientation of a JPEG file: how the camera was held."""

from typing import IO

import numpy as np

from ede_keras.utils.files import StrPath

_ORIENTATION = 0x0112  # EXIF 2.3, Section 4.6.4


def read_orientation(source: StrPath | IO[bytes]) -> int:
    """Returns the EXIF orientation of an image file; only the file's header is read.

    Args:
        source: Path of an image file, or a binary file object at its beginning.

    Returns:
        1 to 8, as defined by EXIF. 1 means upright; it is also returned for other formats than
        JPEG, for a JPEG without an orientation, and for a file that cannot be read. Pillow may
        warn about damaged EXIF data.
    """
    from PIL import Image

    exif = Image.Exif()
    try:
        with Image.open(source, formats=("JPEG",)) as image:
            # Unlike `image.getexif()`, this ignores an orientation that only the XMP data give.
            exif.load(image.info.get("exif", b""))
        orientation = exif.get(_ORIENTATION)
    except Exception:  # Pillow raises many types of errors on damaged files
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def is_sideways(orientation: int) -> bool:
    """Returns whether an orientation swaps height and width."""
    return orientation >= 5


def turn_upright(image: np.ndarray, orientation: int) -> np.ndarray:
    """Turns a stored image upright.

    Args:
        image: Array `(height, width, channels)` of any dtype, as stored in the file.
        orientation: EXIF orientation, 1 to 8.

    Returns:
        A view of `image`. Its height and width are swapped if `is_sideways(orientation)`.
    """
    if is_sideways(orientation):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = np.flip(image, axis=1)
    if orientation in (3, 4, 7, 8):
        image = np.flip(image, axis=0)
    return image
