"""Runs a SavedModel with TensorFlow's C API, which `tensorflow_model_server` is built on.

    python c_api.py FOLDER REQUEST.npz ANSWER.npz

TensorFlow's Python package is not imported. The request holds the input arrays by the names of
their tensors in the graph, and the names of the output tensors in `fetches`. Strings are object
arrays of `bytes`, pickled.
"""

import ctypes
import importlib.util
import sys
from pathlib import Path

import numpy as np

FLOAT, INT32, STRING = 1, 3, 7  # TF_DataType
DTYPES = {FLOAT: np.float32, INT32: np.int32}
TSTRING_SIZE = 24


class Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


def load_library():
    folder = Path(importlib.util.find_spec("tensorflow").origin).parent
    ctypes.CDLL(str(folder / "libtensorflow_framework.so.2"), ctypes.RTLD_GLOBAL)
    library = ctypes.CDLL(str(folder / "libtensorflow_cc.so.2"), ctypes.RTLD_GLOBAL)
    for name in ("NewStatus", "NewGraph", "NewSessionOptions", "AllocateTensor"):
        getattr(library, f"TF_{name}").restype = ctypes.c_void_p
    for name in ("LoadSessionFromSavedModel", "GraphOperationByName", "TensorData"):
        getattr(library, f"TF_{name}").restype = ctypes.c_void_p
    library.TF_Message.restype = ctypes.c_char_p
    library.TF_Dim.restype = ctypes.c_int64
    return library


class CApi:
    def __init__(self, folder):
        self.tf = load_library()
        self.status = ctypes.c_void_p(self.tf.TF_NewStatus())
        self.graph = ctypes.c_void_p(self.tf.TF_NewGraph())
        tags = (ctypes.c_char_p * 1)(b"serve")
        session = self.tf.TF_LoadSessionFromSavedModel(
            ctypes.c_void_p(self.tf.TF_NewSessionOptions()),
            None,
            str(folder).encode(),
            tags,
            1,
            self.graph,
            None,
            self.status,
        )
        self.check()
        self.session = ctypes.c_void_p(session)

    def check(self):
        if self.tf.TF_GetCode(self.status):
            raise RuntimeError(self.tf.TF_Message(self.status).decode())

    def find(self, name):
        """Finds an output of the graph by the name of its tensor, "operation:index"."""
        operation, index = name.rsplit(":", 1)
        found = self.tf.TF_GraphOperationByName(self.graph, operation.encode())
        if not found:
            raise KeyError(name)
        return Output(found, int(index))

    def to_tensor(self, array):
        dims = (ctypes.c_int64 * array.ndim)(*array.shape)
        kind = STRING if array.dtype == object else {"f": FLOAT, "i": INT32}[array.dtype.kind]
        n_bytes = array.size * TSTRING_SIZE if kind == STRING else array.nbytes
        tensor = ctypes.c_void_p(
            self.tf.TF_AllocateTensor(kind, dims, array.ndim, ctypes.c_size_t(n_bytes))
        )
        data = self.tf.TF_TensorData(tensor)
        if kind == STRING:
            for i, content in enumerate(array):
                place = ctypes.c_void_p(data + i * TSTRING_SIZE)
                self.tf.TF_StringInit(place)
                self.tf.TF_StringCopy(place, content, ctypes.c_size_t(len(content)))
        else:
            ctypes.memmove(data, np.ascontiguousarray(array).ctypes.data, n_bytes)
        return tensor

    def to_array(self, tensor):
        tensor = ctypes.c_void_p(tensor)
        shape = [self.tf.TF_Dim(tensor, i) for i in range(self.tf.TF_NumDims(tensor))]
        array = np.empty(shape, DTYPES[self.tf.TF_TensorType(tensor)])
        ctypes.memmove(array.ctypes.data, self.tf.TF_TensorData(tensor), array.nbytes)
        return array

    def run(self, feeds, fetches):
        inputs = (Output * len(feeds))(*map(self.find, feeds))
        values = (ctypes.c_void_p * len(feeds))(*(self.to_tensor(a).value for a in feeds.values()))
        outputs = (Output * len(fetches))(*map(self.find, fetches))
        found = (ctypes.c_void_p * len(fetches))()
        self.tf.TF_SessionRun(
            self.session,
            None,
            *(inputs, values, len(feeds)),
            *(outputs, found, len(fetches)),
            *(None, 0, None, self.status),
        )
        self.check()
        return {name: self.to_array(tensor) for name, tensor in zip(fetches, found, strict=True)}


def main(folder, request, answer):
    with np.load(request, allow_pickle=True) as file:
        feeds = dict(file)
    fetches = feeds.pop("fetches").tolist()
    found = CApi(folder).run(feeds, fetches)
    assert "tensorflow" not in sys.modules
    np.savez(answer, **found)


if __name__ == "__main__":
    main(*sys.argv[1:])
