import zipfile

import numpy as np
import pytest
from makers import make_images, write_coil

from ede_keras.data.formats.coil import read_coil
from ede_keras.errors import InputError


def assert_is_coil(found):
    x, y, x_test, y_test = found
    assert x.shape == (12, 16, 16, 3)
    assert x.dtype == np.uint8
    assert y.tolist() == [1] * 4 + [2] * 4 + [10] * 4
    assert y.dtype == np.int64
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


def test_coil_itself_is_the_folder(tmp_path):
    folder = write_coil(tmp_path)
    archive = tmp_path / "made" / "coil-100.zip"
    archive.parent.mkdir()
    with zipfile.ZipFile(archive, "w") as file:
        for path in folder.iterdir():
            file.write(path, f"coil-100/{path.name}")
    for root in (folder, archive):
        found, path = read_coil(root)
        assert_is_coil(found)
        assert path == root
    assert read_coil(folder.rename(tmp_path / "other")) is None


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
