"""Reads the tensors of a PyTorch file without PyTorch, and without running what the file says."""

import collections
import math
import pickle
import struct
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np

# What begins a file of PyTorch's older format: three pickles and then the tensors.
_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001
_DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
}
_HIGHEST_NUMBER = 2**31  # of elements in a storage


class _Storage(NamedTuple):
    """The name, the dtype and the length of a storage, whose values follow later in the file."""

    key: str
    dtype: str
    length: int


class _Tensor(NamedTuple):
    """Where in a storage a tensor lies; strides are in elements."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def _describe_tensor(storage, offset, shape, strides, *others):
    """Stands for `torch._utils._rebuild_tensor_v2`."""
    del others  # whether it has a gradient, and hooks
    return _Tensor(storage, offset, shape, strides)


_ALLOWED: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _describe_tensor,
    **{("torch", name): dtype for name, dtype in _DTYPES.items()},
}


class _Unpickler(pickle.Unpickler):
    """Knows dictionaries, numbers, strings and tensors, and refuses all else."""

    def find_class(self, module, name):
        if (module, name) not in _ALLOWED:
            raise ValueError(f"it asks for {module}.{name}, which is no plain tensor")
        return _ALLOWED[module, name]

    def persistent_load(self, pid):
        kind, dtype, key, _, length, *_ = pid
        if kind != "storage" or dtype not in _DTYPES.values():
            raise ValueError(f"it has an unknown object, {kind}")
        if not 0 <= length < _HIGHEST_NUMBER:
            raise ValueError(f"it has a storage of {length} elements")
        return _Storage(key, dtype, length)


def read_state_dict(path: str | Path) -> dict[str, np.ndarray]:
    """The tensors of a file that `torch.save(model.state_dict(), path)` wrote.

    Only the older format is read, that of PyTorch before 1.6 (`_use_new_zipfile_serialization=
    False` in later ones). The file is never unpickled freely: a list says which names it may use,
    and they make plain tensors only.

    Args:
        path: The file.

    Returns:
        NumPy arrays by name, in the order of the file.

    Raises:
        ValueError: It is another kind of file, it is cut off, or it has something else than
            tensors.
        OSError: It cannot be read.
    """
    with open(path, "rb") as file:
        try:
            return _read(file)
        except (pickle.UnpicklingError, EOFError, struct.error, TypeError, AttributeError) as error:
            raise ValueError(f"it is not a file of tensors, or is cut off ({error})") from error


def _read(file: BinaryIO) -> dict[str, np.ndarray]:
    if (_Unpickler(file).load(), _Unpickler(file).load()) != (_MAGIC, _PROTOCOL):
        raise ValueError("it is not a PyTorch file of the older format")
    _Unpickler(file).load()  # of the machine that wrote it: byte order is little in all that exist
    tensors = _Unpickler(file).load()
    keys = _Unpickler(file).load()
    storages = {t.storage.key: t.storage for t in tensors.values()}
    values = {key: _read_storage(file, storages[key]) for key in keys if key in storages}
    if missing := sorted(set(storages) - set(values)):
        raise ValueError(f"it lacks the values of storage {missing[0]}")
    return {name: _place(tensor, values[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file, storage):
    (length,) = struct.unpack("<q", file.read(8))
    if length != storage.length:
        raise ValueError(f"a storage has {length} elements instead of {storage.length}")
    size = length * np.dtype(storage.dtype).itemsize
    content = file.read(size)
    if len(content) < size:
        raise ValueError("it is cut off")
    return np.frombuffer(content, storage.dtype)


def _place(tensor, values):
    """The tensor as an array. Its elements need not lie in order in the storage."""
    last = tensor.offset + sum(
        (n - 1) * s for n, s in zip(tensor.shape, tensor.strides, strict=True)
    )
    negative = min((tensor.offset, *tensor.shape, *tensor.strides)) < 0
    if negative or (math.prod(tensor.shape) and last >= len(values)):
        raise ValueError("a tensor lies outside its storage")
    strides = [s * values.itemsize for s in tensor.strides]
    view = np.lib.stride_tricks.as_strided(values[tensor.offset :], tensor.shape, strides)
    return np.ascontiguousarray(view).reshape(tensor.shape)
