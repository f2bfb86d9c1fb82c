import gzip
from pathlib import Path

import numpy as np
import pytest
import sklearn.datasets
from makers import (
    write_cifar_binary,
    write_coil,
    write_folder,
    write_idx,
    write_image,
    write_npz,
)

from ede_keras import choices
from ede_keras.data.datasets import BUILT_IN, load_dataset, resolve_normal
from ede_keras.errors import InputError

FMNIST = Path("/usr/share/datasets/fashion-mnist")


def test_digits():
    digits = load_dataset("digits")
    expected = sklearn.datasets.load_digits()
    assert digits.x_train.shape == (1797, 8, 8, 1)
    assert digits.x_train.dtype == np.float32
    np.testing.assert_allclose(digits.x_train[..., 0], expected.images * 255 / 16, rtol=1e-6)
    np.testing.assert_array_equal(digits.y_train, expected.target)
    assert len(digits.x_test) == 0
    assert digits.default_protocol == "split80"


@pytest.mark.skipif(not FMNIST.is_dir(), reason="needs the package dataset-fashion-mnist")
def test_real_fashion_mnist():
    fmnist = load_dataset("fmnist", str(FMNIST))
    assert fmnist.x_train.shape == (60000, 28, 28, 1)
    assert fmnist.x_train.dtype == np.uint8
    assert np.bincount(fmnist.y_train).tolist() == [6000] * 10
    assert np.bincount(fmnist.y_test).tolist() == [1000] * 10
    with gzip.open(FMNIST / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8)
    assert fmnist.x_test.sum() == pixels.sum()
    assert fmnist.class_names[9] == "ankle-boot"


def test_npz_by_path(tmp_path):
    y = np.array([5, 5, -1, 7] * 3)
    path = write_npz(tmp_path / "parts.npz", y_train=y)
    dataset = load_dataset(str(path))
    assert (dataset.name, dataset.default_protocol) == ("parts", "official")
    assert dataset.class_names == {-1: "-1", 0: "0", 1: "1", 2: "2", 5: "5", 7: "7"}
    assert resolve_normal(dataset, "-1") == -1


def test_what_may_not_be_read_is_no_damage(run_command, tmp_path):
    write_idx(tmp_path)
    write_cifar_binary(tmp_path)
    write_coil(tmp_path)
    locked = {
        write_folder(tmp_path / "listed", "classes", n=1): "listed/pear",
        write_npz(tmp_path / "a.npz"): "a.npz",
        "mnist": "t10k-labels-idx1-ubyte.gz",
        "cifar10": "cifar-10-batches-bin/test_batch.bin",
        "coil100": "coil-100",
    }
    for place in locked.values():
        (tmp_path / place).chmod(0)
    code = (
        "import sys; from ede_keras.data.datasets import BUILT_IN, load_dataset\n"
        "for dataset in sys.argv[2:]:\n"
        "    data_dir = sys.argv[1] if dataset in BUILT_IN else None\n"
        "    try: load_dataset(dataset, data_dir)\n"
        "    except (OSError, ValueError) as error: print(error)"
    )
    shown = run_command("-c", code, tmp_path, *locked, bound=True).stdout.splitlines()
    for line, place in zip(shown, locked.values(), strict=True):
        assert str(tmp_path / place) in line
        assert "ermission" in line
        assert "ownload" not in line
        assert "complete" not in line
        assert "must be an .npz" not in line


def test_a_file_that_may_not_be_read_is_left_out(run_command, tmp_path):
    folder = write_folder(tmp_path / "parts", "classes", n=2)
    (folder / "pear/000.png").chmod(0)
    code = (
        "import sys; from ede_keras.data.datasets import load_dataset\n"
        "print(load_dataset(sys.argv[1]).summary.left_out)"
    )
    done = run_command("-c", code, folder, bound=True)
    assert "{'pear/000.png': 'no permission to read it'}" in done.stdout
    assert "no permission to read it: pear/000.png" in done.stderr


def test_built_in_name_goes_before_a_folder(tmp_path, monkeypatch):
    write_folder(tmp_path / "digits", "plain", n=1)
    monkeypatch.chdir(tmp_path)
    assert not load_dataset("digits").is_folder
    assert load_dataset("./digits").is_folder


@pytest.mark.parametrize("dataset", ["minst", "", "no/such/folder", "missing.npz"])
def test_unknown_dataset(dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.npz").touch()
    with pytest.raises(InputError, match="digits, mnist, .*npz.*folder"):
        load_dataset(dataset or "no")


@pytest.mark.parametrize(
    ("normal", "label"), [("cat", 3), ("CAT", 3), (3, 3), ("3", 3), (np.int64(3), 3)]
)
def test_resolve_normal(offline, normal, label):
    write_cifar_binary(offline)
    assert resolve_normal(load_dataset("cifar10", str(offline)), normal) == label


@pytest.mark.parametrize("normal", ["dog", 10, "-1", "", "1.0"])
def test_unknown_class_lists_all(normal):
    with pytest.raises(InputError, match="class of digits: 0, 1, 2, .*, 9. Received: "):
        resolve_normal(load_dataset("digits"), normal)


def test_class_name_goes_before_a_label(tmp_path):
    for name in ("1", "2"):
        write_image(tmp_path / name / "a.png", np.zeros((4, 4, 1), np.uint8))
    dataset = load_dataset(str(tmp_path))
    assert resolve_normal(dataset, "1") == 0
    with pytest.raises(InputError, match="0 1, 1 2. Received: '3'"):
        resolve_normal(dataset, "3")


@pytest.mark.parametrize("normal", [0, "0", "good", "0.normal", "0.NORMAL"])
def test_normal_of_a_folder_that_says_it(tmp_path, normal):
    dataset = load_dataset(str(write_folder(tmp_path, "ganomaly", n=1)))
    assert resolve_normal(dataset, normal) == 0
    with pytest.raises(
        InputError, match="makes '0.normal' the normal class.*Received: normal='1.abnormal'"
    ):
        resolve_normal(dataset, "1.abnormal")


def test_every_built_in_set_has_a_known_default_protocol():
    assert set(choices.DATASETS.values()) <= set(choices.PROTOCOLS)
    assert set(BUILT_IN) == {
        "digits", "mnist", "fmnist", "cifar10", "cifar100", "cifar100_coarse", "coil100"
    }  # fmt: skip
