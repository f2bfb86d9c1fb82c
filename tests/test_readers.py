import gzip
import hashlib
import io
import pickle
import pickletools
import struct
import tarfile
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from makers import (
    cifar_batches,
    idx_bytes,
    make_arrays,
    make_images,
    write_cifar_binary,
    write_coil,
    write_idx,
    write_npz,
)

from ede_keras import cifar
from ede_keras.cifar import read_cifar
from ede_keras.coil import read_coil
from ede_keras.errors import InputError
from ede_keras.readers import read_idx, read_idx_set, read_npz


def assert_same(found, expected):
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


# IDX


@pytest.mark.parametrize("ending", ["", ".gz"])
@pytest.mark.parametrize("dotted", [False, True])
def test_idx_set(tmp_path, ending, dotted):
    expected = write_idx(tmp_path, 3, ending, dotted)
    found, path = read_idx_set(tmp_path)
    assert_same(found, expected)
    assert path == tmp_path


def test_idx_set_with_a_missing_file_is_none(tmp_path):
    write_idx(tmp_path)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").unlink()
    assert read_idx_set(tmp_path) is None


@given(st_numpy.arrays(np.uint8, st_numpy.array_shapes(min_dims=3, max_dims=3, max_side=5)))
@settings(max_examples=25, deadline=None)
def test_idx_round_trip(tmp_path_factory, array):
    path = tmp_path_factory.mktemp("idx") / "some-idx3-ubyte"
    path.write_bytes(idx_bytes(array))
    np.testing.assert_array_equal(read_idx(path, 3), array)


GOOD_IDX = idx_bytes(make_images([1, 2], (4, 4, 1))[..., 0])


@pytest.mark.parametrize(
    "data",
    [
        b"",
        GOOD_IDX[:6],
        GOOD_IDX[:-1],
        GOOD_IDX + b"\0",
        b"\0\0\x0d\3" + GOOD_IDX[4:],  # floats
        b"\0\0\x08\1" + GOOD_IDX[4:],  # one dimension
        b"\0\0\x08\3" + struct.pack(">III", *[2**32 - 1] * 3) + GOOD_IDX[16:],
        b"<html>Not Found</html>" * 3,
        gzip.compress(GOOD_IDX)[:-9],
        gzip.compress(GOOD_IDX[:-1]),
        gzip.compress(GOOD_IDX)[:12] + b"\xff\xff\xff\xff" + gzip.compress(GOOD_IDX)[16:],
    ],
    # The bytes themselves would be bad names: gzip writes the time into them.
    ids=[
        "empty",
        "short header",
        "short",
        "long",
        "floats",
        "one dimension",
        "huge",
        "html",
        "gzip cut off",
        "gzip of short",
        "gzip damaged",
    ],
)
def test_damaged_idx_is_named(tmp_path, data):
    path = tmp_path / "train-images-idx3-ubyte.gz"
    path.write_bytes(data)
    with pytest.raises(InputError, match="train-images-idx3-ubyte.gz.*Received: "):
        read_idx(path, 3)


def test_idx_of_different_lengths(tmp_path):
    write_idx(tmp_path, 2)
    (tmp_path / "train-labels-idx1-ubyte.gz").write_bytes(idx_bytes(np.zeros(7, np.uint8)))
    with pytest.raises(InputError, match="Received: 20 images, 7 labels"):
        read_idx_set(tmp_path)


# NPZ


def test_npz_of_bytes_is_unchanged(tmp_path):
    expected = make_arrays(2, 3, (8, 8, 3))
    assert_same(read_npz(write_npz(tmp_path / "a.npz", expected)), expected)


def test_npz_accepts_images_without_channels_and_labels_as_column(tmp_path):
    x, y, xt, yt = expected = make_arrays(2, 3, (8, 6, 1))
    path = write_npz(tmp_path / "a.npz", (x[..., 0], y[:, None].astype(np.uint8), xt[..., 0], yt))
    assert_same(read_npz(path), expected)


@pytest.mark.parametrize(
    ("dtype", "stored", "expected", "out"),
    [
        ("uint8", [0, 1], [0, 1], "uint8"),
        ("int64", [0, 255], [0, 255], "uint8"),
        ("bool", [0, 1], [0, 255], "uint8"),
        ("float64", [0.0, 0.5], [0, 127.5], "float32"),
        ("float16", [0.0, 1.0], [0, 255], "float32"),
        ("float32", [0.5, 200.25], [0.5, 200.25], "float32"),
        ("uint16", [0, 255], [0, 255], "uint8"),
        ("uint16", [257, 65535], [1, 255], "float32"),
        ("int32", [0, 65535], [0, 255], "float32"),
    ],
)
def test_npz_range(tmp_path, dtype, stored, expected, out):
    x = np.resize(np.array(stored, dtype), (2, 4, 4, 1))
    y = np.zeros(2, int)
    x_train, _, x_test, _ = read_npz(write_npz(tmp_path / "a.npz", (x, y, x, y)))
    assert x_train.dtype == x_test.dtype == out
    np.testing.assert_allclose(x_train, np.resize(expected, x.shape), rtol=1e-6)
    np.testing.assert_array_equal(x_train, x_test)


def test_npz_range_is_decided_on_the_training_part(tmp_path):
    x, y = np.full((2, 4, 4, 1), 200.0), np.zeros(2)
    dark = np.full_like(x, 0.5)
    *_, x_test, _ = read_npz(write_npz(tmp_path / "a.npz", (x, y, dark, y)))
    assert x_test.max() == 0.5
    *_, x_test, _ = read_npz(write_npz(tmp_path / "b.npz", (x[:0], y[:0], dark, y)))
    assert x_test.max() == 127.5
    with pytest.raises(InputError, match="same range, here 0-1. Received: maximum 200"):
        read_npz(write_npz(tmp_path / "c.npz", (dark, y, x, y)))


X = np.zeros((6, 8, 8, 1))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_test": None, "labels": np.zeros(3)}, r"labels.*\['y_test'\] is missing"),
        ({"x_train": np.array([{}, []], object)}, "Received: Object arrays cannot be loaded"),
        ({"x_train": np.zeros((6, 8))}, r"x_train must have shape .*Received: \(6, 8\)"),
        ({"x_train": np.zeros((6, 8, 8, 2))}, r"x_train must have shape .*Received: \(6, 8, 8, 2"),
        ({"x_train": np.zeros((6, 0, 8))}, r"x_train must have shape .*Received: \(6, 0, 8"),
        ({"x_train": X.astype(str)}, "x_train must be numbers. Received: dtype <U"),
        ({"x_train": X.astype(complex)}, "x_train must be numbers. Received: dtype complex"),
        ({"x_test": np.where(np.eye(8) > 0, np.nan, X[..., 0])}, "x_test .* Received: 48 NaN"),
        ({"x_test": X + np.inf}, "Received: 384 NaN or infinite"),
        ({"x_train": X - 1}, "must not be negative.*Received: minimum -1"),
        ({"x_train": X + 300.5}, "Received: dtype float64 with maximum 300.5"),
        ({"y_train": np.zeros(5)}, "Received: 6 images, 5 labels"),
        ({"y_train": np.arange(6) + 0.5}, "y_train must be whole numbers. Received: 0.5"),
        ({"y_train": np.full(6, np.nan)}, "y_train must be whole numbers. Received: nan"),
        ({"y_train": np.full(6, 2**64 - 1, np.uint64)}, "y_train must be whole numbers"),
        ({"y_train": np.array(list("abcdef"))}, "y_train must be whole numbers .*dtype <U1"),
        ({"y_train": np.zeros((6, 2))}, r"shape \(6, 2\)"),
        ({"x_test": np.zeros((6, 9, 8, 1))}, "same image shape and dtype"),
        ({"x_test": X.astype(np.uint8)}, "same image shape and dtype"),
        ({"x_train": X[:0], "y_train": [], "x_test": X[:0], "y_test": []}, "at least one image"),
    ],
)
def test_bad_npz_is_named(tmp_path, changes, message):
    arrays = (X, np.zeros(6, int), X, np.zeros(6, int))
    path = write_npz(tmp_path / "bad.npz", arrays, **changes)
    with pytest.raises(InputError, match=f"bad.npz.*{message}"):
        read_npz(path)


class Touch:
    """Unpickling this creates a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_npz_is_never_unpickled(tmp_path):
    bait = tmp_path / "executed"
    objects = np.array([Touch(bait)], object)
    with pytest.raises(InputError, match="Object arrays"):
        read_npz(write_npz(tmp_path / "a.npz", x_train=objects))
    assert not bait.exists()
    pickle.loads(pickle.dumps(Touch(bait))).close()
    assert bait.exists(), "the bait must work, or the test above shows nothing"


@pytest.mark.parametrize("keep", [0, 10, 200, 0.5, -30])
def test_truncated_npz(tmp_path, keep):
    path = write_npz(tmp_path / "a.npz")
    data = path.read_bytes()
    path.write_bytes(data[: int(keep * len(data)) if isinstance(keep, float) else keep])
    with pytest.raises(InputError, match="a.npz must be an .npz file.*Received: "):
        read_npz(path)


@given(st.integers(0, 10**6), st.integers(1, 255))
@settings(max_examples=60, deadline=None)
def test_npz_with_a_flipped_byte_is_read_or_refused(tmp_path_factory, position, flip):
    path = write_npz(tmp_path_factory.mktemp("npz") / "a.npz")
    data = bytearray(path.read_bytes())
    data[position % len(data)] ^= flip
    path.write_bytes(data)
    try:
        x_train, *_ = read_npz(path)
    except InputError as error:
        assert "a.npz" in str(error)
    else:
        assert x_train.shape == (12, 8, 8, 1)


def test_npy_with_the_wrong_ending(tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        np.save(file, X)
    with pytest.raises(InputError, match="zip"):
        read_npz(tmp_path / "a.npz")


# CIFAR


def expected_cifar(name):
    return make_arrays(2, 10 if name == "cifar10" else 100, (32, 32, 3))


def tar_of(folder, archive, prefix=""):
    with tarfile.open(archive, "w:gz") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, f"{prefix}{folder.name}/{path.name}")
    return archive


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_binary_folder(tmp_path, name):
    folder = write_cifar_binary(tmp_path, name)
    arrays, path = read_cifar(tmp_path, name)
    assert_same(arrays, expected_cifar(name))
    assert path == folder


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_binary_tar_is_read_in_memory(tmp_path, name):
    folder = write_cifar_binary(tmp_path / "made", name)
    (tmp_path / "set").mkdir()
    archive = {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}[name]
    tar_of(folder, tmp_path / "set" / archive, "./")
    arrays, path = read_cifar(tmp_path / "set", name)
    assert_same(arrays, expected_cifar(name))
    assert list((tmp_path / "set").iterdir()) == [path]


def test_cifar_tar_with_weird_members(tmp_path):
    folder = write_cifar_binary(tmp_path / "made")
    (tmp_path / "set").mkdir()
    with tarfile.open(tmp_path / "set" / "cifar-10-binary.tar.gz", "w:gz") as tar:
        for weird in ("../outside.bin", "/", "..", "/etc/passwd", "cifar-10-batches-bin/x\n.bin"):
            member = tarfile.TarInfo(weird)
            member.size = 3
            tar.addfile(member, io.BytesIO(b"abc"))
        link = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(link)
        for path in folder.iterdir():
            tar.add(path, f"cifar-10-batches-bin/{path.name}")
    arrays, path = read_cifar(tmp_path / "set", "cifar10")
    assert_same(arrays, expected_cifar("cifar10"))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "set"]


@pytest.mark.parametrize("size", [0, 1, 3072, 3 * 3073 - 1])
def test_cifar_binary_of_wrong_size(tmp_path, size):
    folder = write_cifar_binary(tmp_path)
    (folder / "data_batch_3.bin").write_bytes(bytes(size))
    with pytest.raises(InputError, match=f"data_batch_3.bin .*Received: {size} bytes"):
        read_cifar(tmp_path, "cifar10")


def test_cifar_with_a_missing_file(tmp_path):
    (write_cifar_binary(tmp_path) / "data_batch_2.bin").unlink()
    with pytest.raises(InputError, match="Received: no data_batch_2.bin"):
        read_cifar(tmp_path, "cifar10")


@pytest.mark.parametrize("keep", [0, 20, -200])
def test_truncated_cifar_tar(tmp_path, keep):
    folder = write_cifar_binary(tmp_path / "made")
    archive = tar_of(folder, tmp_path / "cifar-10-binary.tar.gz")
    archive.write_bytes(archive.read_bytes()[:keep])
    with pytest.raises(InputError, match="cifar-10-binary.tar.gz"):
        read_cifar(tmp_path, "cifar10")


def python2_pickle(batch):
    """Pickles as the publisher's Python 2 did: every string is bytes, and NumPy is an old one."""
    blob = bytearray(pickle.dumps(batch, protocol=3))
    string_opcodes = {"BINUNICODE": b"T", "BINBYTES": b"T", "SHORT_BINBYTES": b"U"}
    for opcode, _, position in pickletools.genops(bytes(blob)):
        if opcode.name in string_opcodes:  # these have the same fields, so one byte is enough
            blob[position : position + 1] = string_opcodes[opcode.name]
    return bytes(blob).replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n")


def write_cifar_pickles(folder, name):
    target = folder / ("cifar-10-batches-py" if name == "cifar10" else "cifar-100-python")
    target.mkdir(parents=True)
    key = b"labels" if name == "cifar10" else b"fine_labels"
    for file, (x, y) in cifar_batches(name).items():
        batch = {b"data": x.transpose(0, 3, 1, 2).reshape(len(x), -1), key: y.tolist()}
        (target / file).write_bytes(python2_pickle(batch))
    return target


def trust(monkeypatch, folder):
    """Makes the reader take these files for the publisher's."""
    for path in folder.iterdir():
        monkeypatch.setitem(
            cifar._PICKLE_MD5, path.name, hashlib.md5(path.read_bytes()).hexdigest()
        )


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("packed", [False, True])
def test_cifar_pickles_with_the_right_hash(tmp_path, monkeypatch, name, packed):
    folder = write_cifar_pickles(tmp_path, name)
    trust(monkeypatch, folder)
    root = tmp_path
    if packed:
        root = tmp_path / "packed"
        root.mkdir()
        number = name.removeprefix("cifar")
        tar_of(folder, root / f"cifar-{number}-python.tar.gz")
    arrays, _ = read_cifar(root, name)
    assert_same(arrays, expected_cifar(name))


@pytest.mark.parametrize("trusted", [False, True])
def test_malicious_pickle_is_not_executed(tmp_path, monkeypatch, trusted):
    bait = tmp_path / "executed"
    folder = write_cifar_pickles(tmp_path, "cifar10")
    for path in folder.iterdir():
        path.write_bytes(pickle.dumps(Touch(bait)))
    if trusted:  # as if somebody had forged the md5
        trust(monkeypatch, folder)
    message = "arrays only. Received: _?io.open" if trusted else "binary version .*cifar10.npz"
    with pytest.raises(InputError, match=message):
        read_cifar(tmp_path, "cifar10")
    assert not bait.exists()


def test_binary_goes_before_pickles(tmp_path):
    write_cifar_pickles(tmp_path, "cifar10")
    folder = write_cifar_binary(tmp_path)
    assert read_cifar(tmp_path, "cifar10")[1] == folder


# COIL-100


def assert_is_coil(found):
    x, y, x_test, y_test = found
    assert x.shape == (12, 16, 16, 3) and x.dtype == np.uint8
    assert y.tolist() == [1] * 4 + [2] * 4 + [10] * 4 and y.dtype == np.int64
    for n, i in ((1, 0), (2, 4), (10, 8)):
        np.testing.assert_array_equal(x[i : i + 4], make_images([n] * 4, (16, 16, 3)))
    assert len(x_test) == len(y_test) == 0


def test_coil_folder(tmp_path):
    folder = write_coil(tmp_path)
    (folder / "readme.txt").write_text("not an image")
    found, path = read_coil(tmp_path)
    assert_is_coil(found)
    assert path == folder


def test_coil_zip_with_weird_members(tmp_path):
    folder = write_coil(tmp_path / "made")
    (tmp_path / "set").mkdir()
    with zipfile.ZipFile(tmp_path / "set" / "coil-100.zip", "w") as archive:
        for path in sorted(folder.iterdir(), reverse=True):
            archive.write(path, f"coil-100/{path.name}")
        for weird in (
            "__MACOSX/coil-100/._obj1__0.png",
            "coil-100/obj0__0.png",
            "../../outside",
            "coil-100/obj101__0.png",
            "coil-100/obj1__0.png/",
            "/etc/passwd",
            "*.png",
        ):
            archive.writestr(weird, b"not an image")
    found, path = read_coil(tmp_path / "set")
    assert_is_coil(found)
    assert list((tmp_path / "set").iterdir()) == [path]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made", "set"]


def test_coil_problems_are_named(tmp_path):
    assert read_coil(tmp_path) is None
    folder = write_coil(tmp_path, objects=(1,))
    broken = folder / "obj1__5.png"
    broken.write_bytes(broken.read_bytes()[:60])
    with pytest.raises(InputError, match="Received: .*obj1__5.png"):
        read_coil(tmp_path)
    write_coil(tmp_path, objects=(2,), size=9)
    broken.unlink()
    with pytest.raises(InputError, match=r"obj2__0.png must have the shape .*\(9, 9, 3\)"):
        read_coil(tmp_path)


def test_coil_without_images_or_damaged(tmp_path):
    (tmp_path / "coil-100").mkdir()
    with pytest.raises(InputError, match="must hold images .*Received: none"):
        read_coil(tmp_path)
    (tmp_path / "coil-100").rmdir()
    (tmp_path / "coil-100.zip").write_bytes(b"PK\3\4 half a zip")
    with pytest.raises(InputError, match="coil-100.zip"):
        read_coil(tmp_path)
