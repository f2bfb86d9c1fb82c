"""How a camera was held: the orientation that a JPEG file's EXIF data note."""

import numpy as np

_ORIENTATION = 0x0112
_START_OF_IMAGE = b"\xff\xd8"
_APP1, _START_OF_SCAN = 0xE1, 0xDA


def read_orientation(header):
    """The orientation of an image file by its first bytes, 1 to 8; 1, upright, if it is no JPEG
    or notes none.

    Reference: EXIF 2.3, Section 4.6.4; JPEG segments as in ITU-T T.81, Annex B.
    """
    position = 2 if header.startswith(_START_OF_IMAGE) else len(header)
    while header[position : position + 1] == b"\xff" and position + 4 <= len(header):
        marker = header[position + 1]
        length = int.from_bytes(header[position + 2 : position + 4])
        segment = header[position + 4 : position + 2 + length]
        if marker == _APP1 and segment.startswith(b"Exif\0\0"):
            return _orientation_of_tiff(segment[6:])
        if marker == _START_OF_SCAN or length < 2:
            break
        position += 2 + length
    return 1


def _orientation_of_tiff(data):
    order = {b"II": "little", b"MM": "big"}.get(data[:2], "big")

    def number(begin, size):
        return int.from_bytes(data[begin : begin + size], order)

    directory = number(4, 4)
    for i in range(number(directory, 2)):
        entry = directory + 2 + 12 * i
        if number(entry, 2) == _ORIENTATION:
            value = number(entry + 8, 2)
            return value if 1 <= value <= 8 else 1
    return 1


def is_sideways(orientation):
    """Whether height and width are exchanged."""
    return orientation >= 5


def turn_upright(image, orientation):
    """An image `(h, w, c)`, as it was stored, the way that it was seen."""
    if is_sideways(orientation):
        image = image.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        image = np.flip(image, axis=1)
    if orientation in (3, 4, 7, 8):
        image = np.flip(image, axis=0)
    return image
