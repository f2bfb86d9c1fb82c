"""Format, size and bits of an image file, determined by its content and not by its name."""

import contextlib
import dataclasses
import io
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from PIL import Image, ImageFile, PngImagePlugin, UnidentifiedImageError

from ede_keras.data.images import tiff
from ede_keras.data.images.decoding import MAX_PIXELS
from ede_keras.utils.files import StrPath

try:
    import pillow_heif
except ImportError:  # an extra
    pass
else:
    pillow_heif.register_heif_opener()

Image.init()
# The formats that are read, by Pillow's names for them.
FORMATS = tuple(
    name
    for name in (*("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "JPEG2000", "AVIF", "HEIF"),)
    if name in Image.OPEN  # HEIF only with its plugin
)
# Names by which a file that cannot be read counts as a picture: "damaged", not "not an image".
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".tif", ".tiff"),
    *(".webp", ".pbm", ".pgm", ".ppm", ".pnm", ".jp2", ".j2k", ".j2c", ".jpx", ".jpf"),
    *(".avif", ".heic", ".heif", ".hif"),
)
NO_IMAGE = "not an image"  # how such reasons begin
_MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1")
_ORIENTATION = 0x0112  # EXIF 2.3, Section 4.6.4
_PLAIN_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")

# A sum over all chunks of text in a PNG; Pillow refuses more, although the picture is whole.
PngImagePlugin.MAX_TEXT_MEMORY = 2**28


@dataclasses.dataclass(frozen=True)
class ImageFacts:
    """What the header of an image file says.

    Args:
        problem: Why the file cannot be read, in a few words; empty if it can.
        format: Pillow's name of the format; empty if it is unknown.
        size: `(height, width)` in pixels, upright.
        bits: 16 if the pixels have more than 8 bits and the file does not say which value is
            white (PNG, TIFF, PNM of 16 bits), else 8.
        orientation: EXIF orientation that is left to be applied, 1 to 8; 1 is upright.
        n_frames: Pages of a TIFF or frames of an animation.
        has_alpha: Whether there is an alpha channel or a transparent colour.
        is_plain: Whether TensorFlow decodes the file as a viewer shows it.
    """

    problem: str = ""
    format: str = ""
    size: tuple[int, int] = (0, 0)
    bits: int = 8
    orientation: int = 1
    n_frames: int = 1
    has_alpha: bool = False
    is_plain: bool = False


def inspect_image(source: StrPath | bytes) -> ImageFacts:
    """Reads the header of an image file.

    Args:
        source: Path of the file, or its content.

    Returns:
        The facts. `problem` says if it is not an image, is damaged, is too large, is camera raw, or
        has pixels that are not supported: floating point, 32 bits, signed, 16 bits per colour in a
        TIFF.
    """
    name = "" if isinstance(source, bytes) else os.fspath(source)
    try:
        with _open(source) as file:
            head = file.read(16)
            if not head:
                return ImageFacts("empty file")
            tags = {}
            if tiff.begins_as_tiff(head):
                with ignore_pillow_warnings():
                    tags = tiff.read_tags(file)
                if problem := tiff.find_problem(tags, head, name):
                    return ImageFacts(problem, "TIFF")
            file.seek(0)
            try:
                with ignore_pillow_warnings(), Image.open(file, formats=FORMATS) as image:
                    return _describe(image, file)
            except UnidentifiedImageError:
                whole = tiff.is_whole(tags)
                return ImageFacts(tiff.NOT_SUPPORTED if whole else _name_unidentified(head, name))
    except FileNotFoundError:
        return ImageFacts("no such file")
    except IsADirectoryError:
        return ImageFacts("a folder")
    except PermissionError:
        return ImageFacts("no permission to read it")
    except Image.DecompressionBombError:
        return ImageFacts(_TOO_LARGE)
    except Exception:  # Pillow raises many types of errors on damaged files
        return ImageFacts("damaged")


_TOO_LARGE = f"more than {MAX_PIXELS:,} pixels"


_PILLOW = threading.Lock()


@contextlib.contextmanager
def ignore_pillow_warnings() -> Iterator[None]:
    """Ignores warnings of broken tags, which do not matter to the pixels."""
    # `catch_warnings` changes the whole process: one thread at a time.
    with _PILLOW, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def is_image_name(name: str) -> bool:
    """Whether a file's name is that of an image, in upper or lower case."""
    return Path(name).suffix.lower() in SUFFIXES


def looks_like_image(path: StrPath) -> bool:
    """Whether the content of a file begins as that of an image does; False if unreadable."""
    try:
        with open(path, "rb") as file:
            head = file.read(12)
    except OSError:
        return False
    return _begins_as_image(head)


def _begins_as_image(head: bytes) -> bool:
    """Whether these first bytes, at least 12, are those of an image."""
    if head.startswith(b"RIFF"):  # a container, also of sound and video
        return head[8:12] == b"WEBP"
    if head.startswith(b"BM"):
        return head[6:10] == bytes(4)
    if tiff.begins_as_tiff(head):
        return True
    return head.startswith(_MAGIC) or (head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS)


def _open(source: StrPath | bytes) -> IO[bytes]:
    return io.BytesIO(source) if isinstance(source, bytes) else open(source, "rb")


def _describe(image: ImageFile.ImageFile, file: IO[bytes]) -> ImageFacts:
    format_name = image.format or ""
    orientation = _read_orientation(image, file)
    width, height = image.size
    bits, problem = _read_bits(image, file)
    upright = orientation == 1
    if width * height > MAX_PIXELS:
        problem = _TOO_LARGE
    elif bits > 8 and not upright and not image.mode.startswith("I"):
        problem = f"a PNG of {bits} bits per colour with an EXIF orientation"
    plain = (format_name == "PNG" and image.mode in (*_PLAIN_MODES, "I", "I;16")) or (
        # MPO is a JPEG with a second picture, as phones write it.
        format_name in ("JPEG", "MPO") and image.mode in ("L", "RGB")
    )
    return ImageFacts(
        problem=problem,
        format=format_name,
        size=(width, height) if orientation >= 5 else (height, width),
        bits=bits,
        orientation=orientation,
        n_frames=1 if format_name == "MPO" else getattr(image, "n_frames", 1),
        has_alpha=image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info,
        is_plain=plain and upright and not problem,
    )


def _read_bits(image: ImageFile.ImageFile, file: IO[bytes]) -> tuple[int, str]:
    """`(bits, problem)`: bits of a channel, and why such pixels are not read."""
    if image.format == "PNG":
        file.seek(24)
        return (16 if file.read(1) == b"\x10" else 8), ""
    if image.format == "TIFF":
        bits = tiff.count_bits(image.tag_v2)  # type: ignore[attr-defined]
        if bits > 8 and not image.mode.startswith("I"):
            return bits, f"a TIFF of {bits} bits per colour"
        return (16 if bits > 8 else 8), ""
    if image.mode == "F":
        return 32, "floating-point pixels"
    # Pillow scales a PNM by the highest value that its header names. That is 65535 whatever the
    # camera's bits are, if a program stored 16 of them.
    named = image.format == "PPM" and image.mode == "I" and "I;16B" in str(image.tile)
    return (16 if named else 8), ""


def _read_orientation(image: ImageFile.ImageFile, file: IO[bytes]) -> int:
    """The EXIF orientation that is left to be applied, 1 to 8. That of XMP data is ignored."""
    if image.format in ("TIFF", "HEIF"):  # Pillow turns them itself
        return 1
    exif = Image.Exif()
    try:
        data = image.info.get("exif")
        if data is None and image.format == "PNG":
            data = _find_png_exif(file)
        exif.load(data or b"")
        orientation = exif.get(_ORIENTATION)
    except Exception:  # as above
        return 1
    return orientation if isinstance(orientation, int) and 1 <= orientation <= 8 else 1


def _find_png_exif(file: IO[bytes]) -> bytes | None:
    """The eXIf chunk of a PNG, which may come after the pixels."""
    file.seek(8)
    while len(head := file.read(8)) == 8:
        n = int.from_bytes(head[:4], "big")
        if head[4:] == b"eXIf":
            return file.read(n)
        file.seek(n + 4, os.SEEK_CUR)  # the chunk and its checksum
    return None


def _name_unidentified(head: bytes, name: str) -> str:
    suffix = Path(name).suffix.lower()
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        return "HEIC, which needs pip install 'ede-keras[heif]'"
    if _begins_as_image(head):
        return "damaged"
    if suffix in SUFFIXES or not suffix:
        return f"{NO_IMAGE}, judging by its content"
    return f"{NO_IMAGE} of a supported format ({suffix})"
