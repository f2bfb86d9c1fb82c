"""Where the built-in datasets are searched for, and the errors if they are not found."""

import functools
import http.server
import threading

import keras
import numpy as np
import pytest
from makers import make_arrays, write_cifar_binary, write_coil, write_idx, write_npz

from ede_keras.data.datasets import load_dataset
from ede_keras.data.labels import cifar100_superclass
from ede_keras.errors import InputError


def assert_holds(dataset, arrays):
    found = (dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test)
    for a, b in zip(found, arrays, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(a, b)


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
    """Sends only half of the content that it announces."""

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
    with pytest.raises(
        InputError, match="mnist was not found on this machine.*got only 50000 out of 1"
    ):
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
    with pytest.raises(InputError, match=f"{file}.*killed.*Delete the file"):
        load_dataset(name)
