"""Random folders: layouts, suffixes, modes, bit depths, links and names."""

import io
import os
import warnings

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from ede_keras.data.datasets import load_dataset
from ede_keras.data.images.listing import list_files
from ede_keras.errors import InputError

MODES = {
    "1": lambda a: Image.fromarray(a[..., 0] > 99),
    "L": lambda a: Image.fromarray(a[..., 0]),
    "LA": lambda a: Image.fromarray(a[..., :2]),
    "P": lambda a: Image.fromarray(a).quantize(16),
    "RGB": Image.fromarray,
    "RGBA": lambda a: Image.fromarray(np.dstack([a, a[..., :1]])),
    "CMYK": lambda a: Image.fromarray(a).convert("CMYK"),
    "I;16": lambda a: Image.fromarray(a[..., 0].astype(np.uint16) * 16),
    "F": lambda a: Image.fromarray(a[..., 0].astype(np.float32)),
}
FORMATS = ("PNG", "TIFF", "BMP", "WEBP", "GIF", "PPM", "JPEG2000")
NAMES = st.text("abcäß零 -_.()'", min_size=1, max_size=6).filter(lambda s: s.strip(". ") == s)
FILES = st.tuples(
    st.sampled_from(["", "x/", "x/y/", "Ordner/"]),
    NAMES,
    st.sampled_from(
        [".png", ".PNG", ".jpg", ".tif", ".bmp", ".webp", ".pgm", ".txt", "", ".jpg.bak"]
    ),
    st.sampled_from([*MODES, "empty", "garbage", "cut", "link", "hidden"]),
    st.sampled_from(FORMATS),
)


def write_odd(folder, files):
    """Writes the files; returns the lossless images among them, by path."""
    rng = np.random.default_rng(0)
    shown = {}
    for sub, stem, suffix, kind, format_name in files:
        path = folder / sub / f"{'.' if kind == 'hidden' else ''}{stem}{suffix}"
        if path.exists() or path.is_symlink():
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        content = io.BytesIO()
        image = MODES.get(kind, MODES["RGB"])(rng.integers(0, 256, (9, 7, 3), np.uint8))
        try:
            image.save(content, format_name, **{"lossless": True} if format_name == "WEBP" else {})
        except (OSError, ValueError):  # the format has no such mode
            content = io.BytesIO()
            image.save(content, "TIFF")
        if kind == "link":
            os.symlink(folder / "nowhere", path)
        elif kind in ("empty", "garbage"):
            path.write_bytes(b"" if kind == "empty" else b"garbage" * 9)
        else:
            path.write_bytes(content.getvalue()[: 60 if kind == "cut" else None])
            if kind in MODES and kind not in ("I;16", "F"):
                content.seek(0)
                with Image.open(content) as again:
                    shown[path.relative_to(folder).as_posix()] = np.asarray(again.convert("RGB"))
    return shown


@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(st.lists(FILES, min_size=1, max_size=12))
def test_counts_add_up_and_pixels_are_those_of_pillow(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("odd")
    shown = write_odd(folder, files)
    visible = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if (path.is_file() or path.is_symlink()) and not path.name.startswith(".")
    }
    listing = list_files(folder)
    assert {*listing.images} | {*listing.left_out} == visible
    assert not {*listing.images} & {*listing.left_out}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = load_dataset(str(folder), image_shape=(9, 7, 3), layout="normals")
    except InputError:
        assert not {*shown} & {*listing.images}
        return
    summary = dataset.summary
    assert {*dataset.paths_train} | {*summary.left_out} == visible
    assert summary.n_used == len(dataset.x_train) and summary.n_seen == len(visible)
    read = dict(zip(dataset.paths_train, dataset.x_train, strict=True))
    for path, pixels in shown.items():
        if path in listing.images:
            np.testing.assert_array_equal(read[path], pixels)
