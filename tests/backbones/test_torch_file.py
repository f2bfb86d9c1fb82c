"""PyTorch's files read without PyTorch, and what is not read."""

import os
import pickle

import numpy as np
import pytest

from ede_keras.backbones import sources
from ede_keras.backbones.torch_file import read_state_dict


@pytest.fixture(scope="module")
def lite0():
    return sources._find_lite0()


@pytest.mark.slow
def test_the_same_tensors_as_pytorch(lite0, tmp_path):
    torch = pytest.importorskip("torch")
    own = {
        "whole": torch.arange(24.0).reshape(2, 3, 4),
        "turned": torch.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1),
        "part": torch.arange(10)[3:7],
        "one": torch.tensor(5),
        "half": torch.arange(3).half(),
        "none": torch.zeros(0, 3),
    }
    torch.save(own, tmp_path / "own.pth", _use_new_zipfile_serialization=False)
    for path in (tmp_path / "own.pth", lite0):
        found, expected = read_state_dict(path), torch.load(path)
        assert list(found) == list(expected)
        for name, tensor in expected.items():
            assert found[name].dtype == tensor.numpy().dtype
            np.testing.assert_array_equal(found[name], tensor.numpy())


class Evil:
    def __reduce__(self):
        return os.mkdir, ("made by a pickle",)


@pytest.mark.parametrize("n_good", [0, 3])
def test_a_file_that_would_run_code_is_refused(tmp_path, monkeypatch, n_good):
    monkeypatch.chdir(tmp_path)
    good = [0x1950A86A20F9469CFC6C, 1001, {}][:n_good]
    content = b"".join(pickle.dumps(part, protocol=2) for part in [*good, Evil()])
    (tmp_path / "evil.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"mkdir, which is no plain tensor"):
        read_state_dict("evil.pth")
    assert [path.name for path in tmp_path.iterdir()] == ["evil.pth"]


@pytest.mark.parametrize("size", [0, 1, 10, 5000, 1_000_000, -1])
def test_a_cut_file_is_refused(lite0, tmp_path, size):
    (tmp_path / "cut.pth").write_bytes(lite0.read_bytes()[:size])
    with pytest.raises(ValueError, match="cut off|not a PyTorch file"):
        read_state_dict(tmp_path / "cut.pth")


@pytest.mark.parametrize("content", [b"PK\x03\x04 a newer file", b"\x80\x02.", b"image" * 99])
def test_another_file_is_refused(tmp_path, content):
    (tmp_path / "a.pth").write_bytes(content)
    with pytest.raises(ValueError, match="not a file of tensors|not a PyTorch file"):
        read_state_dict(tmp_path / "a.pth")
