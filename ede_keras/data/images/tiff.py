"""What the tags of a TIFF file say, read before Pillow opens it."""

from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from PIL.TiffImagePlugin import ImageFileDirectory_v2

# Suffixes of camera raw files. Most are TIFF files whose first page is a thumbnail.
RAW_SUFFIXES = (
    *(".3fr", ".arw", ".cr2", ".cr3", ".dcr", ".dng", ".erf", ".iiq", ".kdc", ".mrw", ".nef"),
    *(".nrw", ".orf", ".pef", ".raf", ".rw2", ".sr2", ".srf", ".srw", ".x3f"),
)
CAMERA_RAW = "camera raw"
NOT_SUPPORTED = "a TIFF not supported by Pillow"
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
_SUBFILE, _WIDTH, _BITS, _PHOTOMETRIC, _SUB_IFDS = 254, 256, 258, 262, 330
_SAMPLE_FORMAT, _DNG_VERSION = 339, 50706
_TAGS = (_SUBFILE, _WIDTH, _BITS, _PHOTOMETRIC, _SUB_IFDS, _SAMPLE_FORMAT, _DNG_VERSION)
_SIGNED, _FLOAT = 2, 3


def begins_as_tiff(head: bytes) -> bool:
    """Whether these first bytes are those of a TIFF file."""
    return head.startswith(_MAGIC)


def read_tags(file: IO[bytes]) -> dict[int, Any]:
    """The tags of the first page that are used here; none if they are damaged."""
    file.seek(0)
    head = file.read(8)
    try:
        if head[2:3] == b"+" or head[3:4] == b"+":  # a BigTIFF, whose header is longer
            head += file.read(8)
        tags = ImageFileDirectory_v2(head)
        file.seek(tags.next)
        tags.load(file)
        return {tag: tags[tag] for tag in _TAGS if tag in tags}
    except Exception:  # Pillow raises many types of errors on damaged files
        return {}


def count_bits(tags: Mapping[int, Any]) -> int:
    """The bits of a channel."""
    return _find_highest(tags, _BITS)


def find_problem(tags: Mapping[int, Any], head: bytes, name: str) -> str:
    """Why a TIFF file is not read, in a few words; empty if it may be.

    Args:
        tags: From `read_tags`.
        head: The first bytes of the file, at least 10.
        name: Its name, if it has one.
    """
    # In such a file the first page is marked as a reduced image, and the sensor's data follow.
    is_reduced = bool(tags.get(_SUBFILE, 0) & 1) and _SUB_IFDS in tags
    is_raw_name = Path(name).suffix.lower() in RAW_SUFFIXES
    if is_reduced or is_raw_name or _DNG_VERSION in tags or head[8:10] == b"CR":
        return CAMERA_RAW
    kind, bits = _find_highest(tags, _SAMPLE_FORMAT), count_bits(tags)
    if kind == _FLOAT:
        return "floating-point pixels"
    if kind == _SIGNED:
        return "signed pixels"
    if bits > 16:
        return f"{bits}-bit pixels"
    if bits > 8 and tags.get(_PHOTOMETRIC) == 0:  # Pillow would show it inverted
        return f"a TIFF of {bits} bits in which 0 is white"
    return ""


def is_whole(tags: Mapping[int, Any]) -> bool:
    """Whether the tags are present from which Pillow knows how the pixels are stored."""
    return _WIDTH in tags and _PHOTOMETRIC in tags


def _find_highest(tags: Mapping[int, Any], tag: int) -> int:
    """The highest of a tag's values, one per channel; 1 without the tag, as TIFF defines it."""
    value = tags.get(tag, 1)
    return max(value) if isinstance(value, tuple) else value
