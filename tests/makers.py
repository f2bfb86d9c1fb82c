"""Writes tiny data sets in the publishers' formats, for the tests.

Every class has its own picture, a white bar at its own height under a little noise, so that a few
epochs on these images are enough to learn something.
"""

import gzip
import struct
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

FOLDERS = {
    "mvtec": ("train/good", "test/good", "test/crack", "test/hole", "ground_truth/hole"),
    "ganomaly": ("train/0.normal", "test/0.normal", "test/1.abnormal"),
    "bare_split": ("train", "test/good", "test/bad"),
    "plain": ("",),
    "classes": ("apple", "pear", "plum"),
}

# The arguments of a test's model: those of the paper, with one EDE after the other.
PLAIN = {
    "norm": "l1",
    "schedule": "inverse_epoch",
    "update": "alternate",
    "phase2_form": "printed",
    "scale_terms": False,
    "phase2_updates": "all",
    "fixed_latent_target": False,
    "score": "latent",
    "omega1": 0.5,
    "pretext": "none",
    "pretext_weight": 0.5,
    "pretext_views": 1,
    "components": 0,
    "lighting": 0.0,
    "mirror": False,
}


def make_images(labels, shape=(28, 28, 1), seed=0):
    """uint8 images (n, *shape), one a label; label k has its bar at the k-th tenth."""
    images = np.random.default_rng(seed).integers(0, 40, (len(labels), *shape), np.uint8)
    for image, label in zip(images, labels, strict=True):
        top = label % 10 * shape[0] // 10
        image[top : top + max(2, shape[0] // 10)] = 230
    return images


def make_smooth_images():
    """70 random images, uint8, 8x8x1."""
    coarse = np.random.default_rng(0).integers(0, 256, (70, 2, 2, 1), dtype=np.uint8)
    return coarse.repeat(4, axis=1).repeat(4, axis=2)


def make_arrays(n_per_class, n_classes=10, shape=(28, 28, 1)):
    """(x_train, y_train, x_test, y_test): n_per_class to train on, half as many to test."""
    parts = []
    for seed, n in enumerate((n_per_class, max(1, n_per_class // 2))):
        y = np.arange(n * n_classes) % n_classes
        parts += [make_images(y, shape, seed), y.astype(np.int64)]
    return tuple(parts)


def write_npz(path, arrays=None, **changes):
    """An .npz of the four arrays; `changes` replaces some, or leaves one out if it is None."""
    arrays = make_arrays(4, 3, (8, 8, 1)) if arrays is None else arrays
    named = dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=True), **changes)
    np.savez(path, **{key: value for key, value in named.items() if value is not None})
    return Path(path)


def write_idx(folder, n_per_class=4, ending=".gz", dotted=False):
    """The four IDX files of MNIST; returns the arrays that they hold."""
    arrays = make_arrays(n_per_class)
    Path(folder).mkdir(parents=True, exist_ok=True)
    names = ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")
    for name, array in zip(names, arrays, strict=True):
        array = array[..., 0] if array.ndim == 4 else array
        name = name.replace("-idx", ".idx") if dotted else name
        data = idx_bytes(array)
        data = gzip.compress(data) if ending else data
        Path(folder, f"{name}-ubyte{ending}").write_bytes(data)
    return arrays


def idx_bytes(array):
    """An array of bytes in the IDX format."""
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.astype(np.uint8).tobytes()


def cifar_batches(name, n_per_class=2):
    """{file name: (x, y)} of a tiny CIFAR set, split into the publisher's files."""
    n_classes = 10 if name == "cifar10" else 100
    x_train, y_train, x_test, y_test = make_arrays(n_per_class, n_classes, (32, 32, 3))
    if name == "cifar100":
        return {"train": (x_train, y_train), "test": (x_test, y_test)}
    parts = zip(np.array_split(x_train, 5), np.array_split(y_train, 5), strict=True)
    return {f"data_batch_{i}": part for i, part in enumerate(parts, 1)} | {
        "test_batch": (x_test, y_test)
    }


def write_cifar_binary(folder, name="cifar10", n_per_class=2):
    """The publisher's folder of binary files under `folder`; returns its path.

    The coarse labels of CIFAR-100 are written as 0: readers derive them from the fine ones.
    """
    target = Path(folder, "cifar-10-batches-bin" if name == "cifar10" else "cifar-100-binary")
    target.mkdir(parents=True)
    for file, (x, y) in cifar_batches(name, n_per_class).items():
        labels = y[:, None] if name == "cifar10" else np.stack([0 * y, y], axis=1)
        pixels = x.transpose(0, 3, 1, 2).reshape(len(x), -1)
        records = np.concatenate([labels.astype(np.uint8), pixels], axis=1)
        (target / f"{file}.bin").write_bytes(records.tobytes())
    return target


def write_image(path, image):
    """One uint8 image (h, w, c); the format follows from the extension: .png, .jpg or .bmp."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    suffix = path.suffix.lower()
    if suffix == ".png":
        path.write_bytes(tf.io.encode_png(image).numpy())
    elif suffix in (".jpg", ".jpeg"):
        path.write_bytes(tf.io.encode_jpeg(image).numpy())
    else:
        path.write_bytes(bmp_bytes(image))
    return path


def save(path, pixels, format_name=None, **arguments):
    """Writes pixels by Pillow, in the format of the suffix or another one; returns the path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, format_name, **arguments)
    return path


def bmp_bytes(image):
    """An RGB image as a 24-bit BMP; written by hand, as TensorFlow only reads the format."""
    height, width, _ = image.shape
    rows = b"".join(
        row[:, ::-1].tobytes() + bytes(-3 * width % 4) for row in np.asarray(image)[::-1]
    )
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 24, 0, len(rows), 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(rows), 0, 0, 54) + info + rows


def write_coil(folder, objects=(1, 2, 10), angles=(0, 5, 10, 100), size=16):
    """`coil-100/objN__A.png` under `folder`; returns its path."""
    target = Path(folder, "coil-100")
    for n in objects:
        for angle, image in zip(
            angles, make_images([n] * len(angles), (size, size, 3)), strict=True
        ):
            write_image(target / f"obj{n}__{angle}.png", image)
    return target


def write_folder(folder, layout="mvtec", n=6, size=32, channels=3, ending=".png"):
    """A folder of images, n in each of its subfolders; returns its path.

    Args:
        folder: Written to; made if missing.
        layout: A key of `FOLDERS`.
        n: Images in each subfolder.
        size: Height and width of the images.
        channels: 1 or 3.
        ending: .png, .jpg or .bmp.
    """
    normal = {"train/good", "test/good", "train/0.normal", "test/0.normal", "train", ""}
    for label, sub in enumerate(FOLDERS[layout], 1):
        labels = [0 if sub in normal else label] * n
        images = make_images(labels, (size, size, channels), seed=label)
        for i, image in enumerate(images):
            write_image(Path(folder, sub, f"{i:03d}{ending}"), image)
    return Path(folder)


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def make_backbone():
    """A small functional network with maps of strides 16 and 32, the same every time."""
    images = keras.Input((None, None, 3))
    x = images
    for seed, (width, stride) in enumerate([(6, 16), (5, 2), (8, 1)]):
        kernel = keras.initializers.GlorotUniform(seed)
        x = keras.layers.Conv2D(
            width, stride, strides=stride, activation="relu", kernel_initializer=kernel
        )(x)
        if width == 5:
            x = keras.layers.Add()([x, x])
    return keras.Model(images, x)


class Batches(keras.utils.PyDataset):
    """Full batches of an array of images."""

    def __init__(self, images, size):
        super().__init__()
        self.images, self.size = images, size

    def __len__(self):
        return len(self.images) // self.size

    def __getitem__(self, i):
        return (self.images[self.size * i : self.size * (i + 1)],)
