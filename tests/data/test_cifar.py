import hashlib
import io
import pickle
import pickletools
import tarfile

import pytest
from makers import Touch, assert_same, cifar_batches, make_arrays, write_cifar_binary

from ede_keras.data.formats import cifar
from ede_keras.data.formats.cifar import read_cifar
from ede_keras.errors import InputError


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


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
def test_cifar_itself_is_the_folder(tmp_path, name):
    folder = write_cifar_binary(tmp_path / "made", name)
    archive = {"cifar10": "cifar-10-binary.tar.gz", "cifar100": "cifar-100-binary.tar.gz"}[name]
    for root in (folder, tar_of(folder, tmp_path / archive)):
        arrays, path = read_cifar(root, name)
        assert_same(arrays, expected_cifar(name))
        assert path == root
    assert read_cifar(folder, {"cifar10": "cifar100", "cifar100": "cifar10"}[name]) is None


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
    """Pickles as the published files: by Python 2, with bytes for strings, and by an old NumPy."""
    blob = bytearray(pickle.dumps(batch, protocol=3))
    string_opcodes = {"BINUNICODE": b"T", "BINBYTES": b"T", "SHORT_BINBYTES": b"U"}
    for opcode, _, position in pickletools.genops(bytes(blob)):
        if (
            opcode.name in string_opcodes
        ):  # with the same fields, so it is enough to replace one byte
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


def accept_hashes(monkeypatch, folder):
    """Makes the reader accept these files as the published ones."""
    for path in folder.iterdir():
        monkeypatch.setitem(
            cifar._PICKLE_MD5, path.name, hashlib.md5(path.read_bytes()).hexdigest()
        )


@pytest.mark.parametrize("name", ["cifar10", "cifar100"])
@pytest.mark.parametrize("packed", [False, True])
def test_cifar_pickles_with_the_right_hash(tmp_path, monkeypatch, name, packed):
    folder = write_cifar_pickles(tmp_path, name)
    accept_hashes(monkeypatch, folder)
    root = tmp_path
    if packed:
        root = tmp_path / "packed"
        root.mkdir()
        number = name.removeprefix("cifar")
        tar_of(folder, root / f"cifar-{number}-python.tar.gz")
    arrays, _ = read_cifar(root, name)
    assert_same(arrays, expected_cifar(name))


@pytest.mark.parametrize("forged", [False, True])
def test_malicious_pickle_is_not_executed(tmp_path, monkeypatch, forged):
    bait = tmp_path / "executed"
    folder = write_cifar_pickles(tmp_path, "cifar10")
    for path in folder.iterdir():
        path.write_bytes(pickle.dumps(Touch(bait)))
    if forged:  # as if somebody had forged the md5
        accept_hashes(monkeypatch, folder)
    message = "arrays only. Received: _?io.open" if forged else "binary version .*cifar10.npz"
    with pytest.raises(InputError, match=message):
        read_cifar(tmp_path, "cifar10")
    assert not bait.exists()


def test_binary_goes_before_pickles(tmp_path):
    write_cifar_pickles(tmp_path, "cifar10")
    folder = write_cifar_binary(tmp_path)
    assert read_cifar(tmp_path, "cifar10")[1] == folder
