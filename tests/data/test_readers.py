import gzip
import pickle
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as st_numpy
from makers import Touch, assert_same, idx_bytes, make_arrays, make_images, write_idx, write_npz

from ede_keras.data.formats.idx import read_idx, read_idx_set
from ede_keras.data.formats.npz import read_npz
from ede_keras.errors import InputError


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
    # The bytes cannot serve as ids, because gzip writes the time into them.
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


@pytest.mark.parametrize("missing", ["y", "train", "y_train", "y_test train"])
def test_npz_to_be_scored_needs_no_labels(tmp_path, missing):
    arrays = make_arrays(2, 3, (8, 8, 1))
    names = ("x_train", "y_train", "x_test", "y_test")
    gone = {name for name in names if any(word in name for word in missing.split())}
    path = write_npz(tmp_path / "a.npz", arrays, **dict.fromkeys(gone))
    expected = [a[:0] if name in gone else a for name, a in zip(names, arrays, strict=True)]
    assert_same(read_npz(path, need_labels=False), expected)
    with pytest.raises(InputError, match="the arrays x_train, y_train.*is missing"):
        read_npz(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None, "x_test": None}, r"x_train or x_test \(images to score\).*is missing"),
        ({"x_train": None}, "x_train and y_train must have the same length. Received: 0"),
        ({"x_train": None, "y_train": None, "x_test": np.zeros(3)}, r"x_test must have shape"),
    ],
)
def test_bad_npz_to_be_scored_is_named(tmp_path, changes, message):
    path = write_npz(tmp_path / "bad.npz", **changes)
    with pytest.raises(InputError, match=f"bad.npz.*{message}"):
        read_npz(path, need_labels=False)


def test_npz_is_never_unpickled(tmp_path):
    bait = tmp_path / "executed"
    objects = np.array([Touch(bait)], object)
    with pytest.raises(InputError, match="Object arrays"):
        read_npz(write_npz(tmp_path / "a.npz", x_train=objects))
    assert not bait.exists()
    pickle.loads(pickle.dumps(Touch(bait))).close()
    assert bait.exists(), "unpickling must create the file, or this test proves nothing"


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
        assert "a.npz" in str(error)  # noqa: PT017  it need not be raised
    else:
        assert x_train.shape == (12, 8, 8, 1)


def test_npy_with_the_wrong_ending(tmp_path):
    with open(tmp_path / "a.npz", "wb") as file:
        np.save(file, X)
    with pytest.raises(InputError, match="zip"):
        read_npz(tmp_path / "a.npz")
