import functools
import gzip
import http.server
import subprocess
import sys
import threading
from pathlib import Path

import keras
import numpy as np
import pytest
import sklearn.datasets
from makers import (
    make_arrays,
    write_cifar_binary,
    write_coil,
    write_folder,
    write_idx,
    write_image,
    write_npz,
)

from ede_keras import sources
from ede_keras.datasets import BUILT_IN, load_dataset, resolve_normal
from ede_keras.errors import InputError
from ede_keras.labels import cifar100_superclass
from ede_keras.protocols import PROTOCOLS

FMNIST = Path("/usr/share/datasets/fashion-mnist")


def assert_holds(dataset, arrays):
    found = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    for a, b in zip(found, arrays, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


@pytest.fixture
def offline(monkeypatch, tmp_path):
    """An empty Keras cache, no Debian package, and a network where nothing answers."""

    def fail(*_, **__):
        raise Exception("URL fetch failure")

    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    monkeypatch.setattr(sources, "_DEBIAN_FMNIST", tmp_path / "debian")
    for module in sources._DOWNLOADS.values():
        monkeypatch.setattr(module, "load_data", fail)
    return tmp_path


def test_digits():
    digits = load_dataset("digits")
    expected = sklearn.datasets.load_digits()
    assert digits.x_train.shape == (1797, 8, 8, 1) and digits.x_train.dtype == np.float32
    np.testing.assert_allclose(digits.x_train[..., 0], expected.images * 255 / 16, rtol=1e-6)
    np.testing.assert_array_equal(digits.y_train, expected.target)
    assert len(digits.x_test) == 0
    assert digits.default_protocol == "split80"


@pytest.mark.skipif(not FMNIST.is_dir(), reason="needs the package dataset-fashion-mnist")
def test_real_fashion_mnist():
    fmnist = load_dataset("fmnist", str(FMNIST))
    assert fmnist.x_train.shape == (60000, 28, 28, 1) and fmnist.x_train.dtype == np.uint8
    assert np.bincount(fmnist.y_train).tolist() == [6000] * 10
    assert np.bincount(fmnist.y_test).tolist() == [1000] * 10
    with gzip.open(FMNIST / "t10k-images-idx3-ubyte.gz") as file:
        pixels = np.frombuffer(file.read()[16:], np.uint8)
    assert fmnist.x_test.sum() == pixels.sum()
    assert fmnist.class_names[9] == "ankle-boot"


@pytest.mark.parametrize("name", ["mnist", "fmnist"])
@pytest.mark.parametrize("inside", ["", "{name}"])
def test_idx_in_data_dir(offline, name, inside):
    root = offline / inside.format(name=name)
    arrays = write_idx(root)
    dataset = load_dataset(name, str(offline))
    assert_holds(dataset, arrays)
    assert dataset.source == str(root)
    assert dataset.default_protocol == "split80"


@pytest.mark.parametrize(
    ("name", "protocol"), [("cifar10", "official"), ("cifar100", "cifar100_siblings")]
)
def test_cifar_in_data_dir(offline, name, protocol):
    write_cifar_binary(offline, name)
    dataset = load_dataset(name, str(offline))
    assert_holds(dataset, make_arrays(2, 10 if name == "cifar10" else 100, (32, 32, 3)))
    assert dataset.default_protocol == protocol


def test_cifar100_coarse_has_the_superclasses_of_the_same_images(offline):
    write_cifar_binary(offline, "cifar100")
    fine, coarse = (load_dataset(name, str(offline)) for name in ("cifar100", "cifar100_coarse"))
    np.testing.assert_array_equal(coarse.x_train, fine.x_train)
    assert coarse.y_train.tolist() == [cifar100_superclass(label) for label in fine.y_train]
    assert coarse.y_test.tolist() == [cifar100_superclass(label) for label in fine.y_test]
    assert len(coarse.class_names) == 20
    assert coarse.default_protocol == "official"


def test_coil_offers_the_objects_that_are_there(offline):
    write_coil(offline, objects=(3, 7))
    coil = load_dataset("coil100", str(offline))
    assert coil.class_names == {3: "obj3", 7: "obj7"}
    assert coil.default_protocol == "coil30"


def test_data_dir_is_the_folder_of_the_set_itself(offline, monkeypatch):
    monkeypatch.chdir(write_coil(offline))
    assert load_dataset("coil100", ".").source == str(offline / "coil-100")


def test_npz_in_data_dir_goes_before_other_files(offline):
    write_idx(offline)
    arrays = make_arrays(1, 10, (28, 28, 1))
    path = write_npz(offline / "mnist.npz", arrays)
    dataset = load_dataset("mnist", str(offline))
    assert_holds(dataset, arrays)
    assert dataset.source == str(path)


def test_npz_of_a_built_in_set_must_have_its_labels(offline):
    write_npz(offline / "mnist.npz", y_train=np.full(12, 10))
    with pytest.raises(InputError, match="labels 0 to 9 of mnist. Received: 10"):
        load_dataset("mnist", str(offline))


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("mnist", "mnist.npz .*train-images-idx3-ubyte.*t10k-labels-idx1-ubyte"),
        ("cifar10", "cifar10.npz .*cifar-10-batches-bin/ .*cifar-10-python.tar.gz"),
        ("cifar100_coarse", "cifar100.npz .*cifar-100-binary.tar.gz"),
        ("coil100", "coil100.npz .*coil-100/ or coil-100.zip"),
    ],
)
def test_nothing_in_data_dir_names_the_files(offline, name, files):
    with pytest.raises(InputError, match=f"Looked for {files}.* in {offline}"):
        load_dataset(name, str(offline))


def test_keras_cache_is_searched(offline):
    arrays = write_idx(offline / "keras" / "datasets" / "fashion-mnist")
    assert_holds(load_dataset("fmnist"), arrays)


def test_data_dir_is_the_only_place(offline):
    write_idx(offline / "keras" / "datasets")
    (offline / "elsewhere").mkdir()
    with pytest.raises(InputError, match="must be in data_dir"):
        load_dataset("mnist", str(offline / "elsewhere"))


def test_debian_package_is_searched(offline):
    arrays = write_idx(offline / "debian")
    assert_holds(load_dataset("fmnist"), arrays)


@pytest.mark.parametrize(
    ("name", "remedies"),
    [
        ("mnist", ["data_dir", "train-images-idx3-ubyte", "network", "'digits'"]),
        ("fmnist", ["data_dir", "apt install dataset-fashion-mnist", "network", "'digits'"]),
        ("cifar10", ["data_dir", "cifar-10-binary.tar.gz", "network", "URL fetch failure"]),
        ("coil100", ["data_dir", "www.cs.columbia.edu", "coil-100.zip"]),
    ],
)
def test_found_nowhere_names_the_remedies(offline, name, remedies):
    with pytest.raises(InputError) as caught:
        load_dataset(name)
    assert [word for word in remedies if word not in str(caught.value)] == []


def test_download_is_brought_to_the_same_form(offline, monkeypatch):
    x_train, y_train, x_test, y_test = arrays = make_arrays(2, 10, (32, 32, 3))
    as_keras = (x_train, y_train[:, None].astype(np.uint8)), (x_test, y_test[:, None])
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: as_keras)
    dataset = load_dataset("cifar10")
    assert_holds(dataset, arrays)
    assert "download" in dataset.source


class Cut(http.server.BaseHTTPRequestHandler):
    """Answers by half of what it promises."""

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000")
        self.end_headers()
        self.wfile.write(bytes(50_000))

    def log_message(self, *_):
        pass


@pytest.fixture
def cut_url():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cut) as server:
        threading.Thread(target=server.serve_forever).start()
        yield f"http://127.0.0.1:{server.server_port}/file"
        server.shutdown()


def test_a_download_that_breaks_off_leaves_nothing(offline, monkeypatch, cut_url):
    fetch = functools.partial(keras.utils.get_file, origin=cut_url)
    monkeypatch.setattr(keras.datasets.mnist, "load_data", lambda: fetch("mnist.npz"))
    with pytest.raises(InputError, match="mnist is not on this machine.*got only 50000 out of 1"):
        load_dataset("mnist")
    assert [path for path in (offline / "keras").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", ["mnist", "fmnist"])
def test_what_a_killed_download_leaves_is_named(offline, name):
    cache = offline / "keras" / "datasets"
    if name == "mnist":
        cache.mkdir(parents=True)
        file = write_npz(cache / "mnist.npz")
    else:
        write_idx(cache / "fashion-mnist")
        file = cache / "fashion-mnist" / "train-images-idx3-ubyte.gz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(InputError, match=f"{file}.*killed.*delete it"):
        load_dataset(name)


def test_npz_by_path(tmp_path):
    y = np.array([5, 5, -1, 7] * 3)
    path = write_npz(tmp_path / "parts.npz", y_train=y)
    dataset = load_dataset(str(path))
    assert (dataset.name, dataset.default_protocol) == ("parts", "official")
    assert dataset.class_names == {-1: "-1", 0: "0", 1: "1", 2: "2", 5: "5", 7: "7"}
    assert resolve_normal(dataset, "-1") == -1


def test_what_may_not_be_read_is_no_damage_and_not_left_out(run_python, bound, tmp_path):
    write_idx(tmp_path)
    write_cifar_binary(tmp_path)
    write_coil(tmp_path)
    locked = {
        write_folder(tmp_path / "listed", "classes", n=1): "listed/pear",
        write_folder(tmp_path / "decoded", "classes", n=1): "decoded/pear/000.png",
        write_npz(tmp_path / "a.npz"): "a.npz",
        "mnist": "t10k-labels-idx1-ubyte.gz",
        "cifar10": "cifar-10-batches-bin/test_batch.bin",
        "coil100": "coil-100",
    }
    for place in locked.values():
        (tmp_path / place).chmod(0)
    code = (
        "import sys; from ede_keras.datasets import load_dataset\n"
        "for dataset in sys.argv[2:]:\n"
        "    try: load_dataset(dataset, sys.argv[1])\n"
        "    except (OSError, ValueError) as error: print(error)"
    )
    shown = run_python("-c", code, tmp_path, *locked, before=bound).stdout.splitlines()
    for line, place in zip(shown, locked.values(), strict=True):
        assert str(tmp_path / place) in line and "ermission" in line
        assert "fetch" not in line and "whole" not in line and "must be an .npz" not in line


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
    with pytest.raises(InputError, match="'0.normal' is normal.*Received: normal='1.abnormal'"):
        resolve_normal(dataset, "1.abnormal")


def test_every_built_in_set_has_a_known_default_protocol():
    from ede_keras.datasets import _DEFAULT_PROTOCOL

    assert set(_DEFAULT_PROTOCOL.values()) <= set(PROTOCOLS)
    assert set(BUILT_IN) == {
        "digits", "mnist", "fmnist", "cifar10", "cifar100", "cifar100_coarse", "coil100"
    }  # fmt: skip


def test_import_adds_no_heavy_package():
    """TensorFlow brings matplotlib itself where it is installed."""
    code = (
        "import sys, keras, tensorflow; before = {*sys.modules}; import ede_keras.protocols;"
        "print({name.split('.')[0] for name in {*sys.modules} - before})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "'ede_keras'" in done.stdout
    assert "keras_cv" not in done.stdout and "matplotlib" not in done.stdout
