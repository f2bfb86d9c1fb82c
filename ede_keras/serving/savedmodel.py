"""Exports a trained model as a SavedModel for TF Serving, into a version directory."""

import math
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ede_keras.data.images.decoding import MAX_VALUE, decode_image
from ede_keras.errors import InputError
from ede_keras.models.detector import AnomalyDetector
from ede_keras.serving import edge_formats, savedmodel_check
from ede_keras.serving.savedmodel_check import build_requests
from ede_keras.serving.server_files import BATCH_SIZES
from ede_keras.serving.warmup import write_warmup
from ede_keras.utils.files import StrPath, write_json

# Limit on the images of one warm-up request.
MAX_WARMUP_BYTES = 2**23
# In the folder `assets.extra` of a version: how the pixels of files are scaled.
DECODING = "decoding.json"

# Each signature's function and the specs of its inputs.
Endpoints = dict[str, tuple[Callable[..., dict[str, tf.Tensor]], list[tf.TensorSpec]]]


def export_savedmodel(
    model: AnomalyDetector,
    output_dir: StrPath,
    version: int | None = None,
    description: str | None = None,
    formats: Iterable[str] = (),
    verbose: int = 0,
    max_value: int = MAX_VALUE,
) -> Path:
    """Exports a calibrated model to `output_dir/<version>/`, completely or not at all.

    The SavedModel is written to a temporary folder. A new process loads it as TF Serving does and
    compares its outputs with the model's. Only then is the folder renamed. The SavedModel has
    these signatures; every output has one entry per image:

    | signature | inputs | outputs |
    | --- | --- | --- |
    | `serving_default` | `images`, float32, as in `predict` | `score`, `label`, `threshold` |
    | `serving_bytes` | `image_bytes`, encoded PNG or JPEG of any size | the same |
    | `serving_threshold` | `images`; `threshold`, float32, one per image | the same |
    | `serving_map` | `images` | `anomaly_map`, `pixel_threshold` |
    | `serving_map_bytes` | `image_bytes` | the same |

    Args:
        model: A calibrated `EDE`, a variant of it, or a `TiledDetector`.
        output_dir: Folder of all versions of the model. Created if it does not exist.
        version: Positive integer. Defaults to one more than the highest existing version.
        description: Text of a file `MODEL.md` in the folder of the version. By default there is
            no such file.
        formats: File formats for edge devices, "onnx" (`model.onnx`) or "litert"
            (`model.tflite`), written to the same folder. They have the inputs and outputs of
            `serving_default`, and are checked too, each with its own runtime. Each needs the
            extra with its name. Defaults to none.
        verbose: 1 shows a progress bar. Defaults to 0.
        max_value: The value of white in PNG files of 16 bits that `serving_bytes` receives, as in
            the training data (`Dataset.max_value`). Defaults to 65535.

    Returns:
        The folder of the version.

    Raises:
        InputError: The model is not calibrated, the version is invalid or exists already, or a
            format does not exist or is not installed.
        RuntimeError: The exported SavedModel does not load, or its outputs are wrong.

    Example:
        >>> export_savedmodel(model, "serving/ede")
        PosixPath('serving/ede/1')
    """
    model.check_exportable()
    formats = tuple(formats)
    if formats and not model.has_edge_formats:
        raise InputError(
            f"{type(model).__name__} scores by operations that ONNX and LiteRT lack: leave "
            f"`formats` out (in the command: --format). Received: {', '.join(formats)}"
        )
    edge_formats.check_formats(formats)
    output_dir = Path(output_dir).expanduser()
    output_dir.mkdir(parents=True, exist_ok=True)
    final = output_dir / str(next_version(output_dir) if version is None else version)
    _check_version(final)
    # In the same folder, because a rename is atomic only within a file system. TF Serving ignores
    # folders whose names are not integers.
    temporary = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=output_dir))
    progress = keras.utils.Progbar(2, verbose=verbose, unit_name="step")  # write, check
    progress.update(0)
    try:
        write_savedmodel(model, temporary, formats, max_value)
        progress.add(1)
        if description is not None:
            (temporary / "MODEL.md").write_text(
                description, encoding="utf-8", errors="backslashreplace"
            )
        savedmodel_check.run(temporary, predict_expected(model))
        progress.add(1)
        for folder, _, files in os.walk(temporary):
            os.chmod(folder, 0o755)
            for name in files:
                os.chmod(Path(folder, name), 0o644)
        _check_version(final)
        os.rename(temporary, final)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return final


def next_version(output_dir: StrPath) -> int:
    """Returns one more than the highest version in a folder, or 1 if it has no version."""
    return 1 + max((int(p.name) for p in Path(output_dir).iterdir() if p.name.isdigit()), default=0)


def _check_version(final: Path) -> None:
    if not final.name.isdigit() or int(final.name) < 1:
        raise InputError(f"`version` must be a positive integer. Received: {final.name}")
    if final.exists():
        raise InputError(
            f"An existing version is never overwritten; choose another version. Received: {final}"
        )


def build_endpoints(model: AnomalyDetector, max_value: int = MAX_VALUE) -> Endpoints:
    """Builds the functions of the signatures.

    Args:
        model: As in `export_savedmodel`.
        max_value: As in `export_savedmodel`.

    Returns:
        A dict from the name of each signature to `(function, input_specs)`. The function returns
        tensors by output name.
    """
    shape = tuple(model.image_shape)
    images = tf.TensorSpec((None, *shape), tf.float32, name="images")
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    threshold = tf.TensorSpec((None,), tf.float32, name="threshold")
    scorer = keras.Model(model.inputs, [model.output["score"], model.output["label"]])
    mapper = keras.Model(model.inputs, model.output["anomaly_map"])

    def checked(images):
        images = tf.ensure_shape(images, (None, *shape))
        # TensorFlow's kernels accept an empty batch of any image size.
        not_empty = tf.debugging.assert_positive(tf.shape(images)[0], "Expected at least 1 image")
        with tf.control_dependencies([not_empty]):
            return tf.identity(images)

    # A function of its own, so that it is traced once for three signatures. No signature is
    # compiled with XLA: by default TF Serving turns XLA off and would refuse every request.
    @tf.function(input_signature=[images], jit_compile=False)
    def serve(images):
        score, label = scorer(checked(images), training=False)
        own = tf.fill(tf.shape(score), tf.convert_to_tensor(model.anomaly_score.threshold))
        return {"score": score, "label": label, "threshold": own}

    def decode(image_bytes):
        decoded = tf.TensorSpec(shape, tf.float32)
        return tf.map_fn(
            lambda one: decode_image(one, shape, max_value),
            image_bytes,
            fn_output_signature=decoded,
        )

    def serve_bytes(image_bytes):
        return serve(decode(image_bytes))

    def serve_threshold(images, threshold):
        score = serve(images)["score"]
        return {
            "score": score,
            "label": tf.cast(score > threshold, "int32"),
            "threshold": tf.broadcast_to(threshold, tf.shape(score)),
        }

    @tf.function(input_signature=[images], jit_compile=False)
    def serve_map(images):
        anomaly_map = mapper(checked(images), training=False)
        own = tf.convert_to_tensor(model.anomaly_score.pixel_threshold)
        return {"anomaly_map": anomaly_map, "pixel_threshold": tf.fill(tf.shape(images)[:1], own)}

    def serve_map_bytes(image_bytes):
        return serve_map(decode(image_bytes))

    return {
        "serving_default": (serve, [images]),
        "serving_bytes": (serve_bytes, [encoded]),
        "serving_threshold": (serve_threshold, [images, threshold]),
        "serving_map": (serve_map, [images]),
        "serving_map_bytes": (serve_map_bytes, [encoded]),
    }


def write_savedmodel(
    model: AnomalyDetector,
    path: Path,
    formats: Iterable[str] = (),
    max_value: int = MAX_VALUE,
) -> None:
    """Writes the SavedModel, its warm-up requests and the files of other formats.

    Args:
        model: As in `export_savedmodel`.
        path: An empty folder.
        formats: As in `export_savedmodel`.
        max_value: As in `export_savedmodel`.
    """
    # Without `track(model)`: what the endpoints use is tracked, and Keras 3.15 would write all
    # weights once more.
    archive = keras.export.ExportArchive()
    endpoints = build_endpoints(model, max_value)
    for name, (function, signature) in endpoints.items():
        endpoint = tf.function(function, input_signature=signature, jit_compile=False)
        archive.add_endpoint(name, endpoint)
    archive.write_out(str(path), verbose=False)
    extra = path / "assets.extra"
    extra.mkdir()
    # For programs that decode files themselves, as `ede_keras.beam` does.
    write_json(extra / DECODING, {"max_value": max_value})
    sizes = warmup_sizes(model.image_shape)
    requests = [r for n in sizes for r in build_requests(model.image_shape, n).items()]
    write_warmup(extra / "tf_serving_warmup_requests", requests)
    serve, _ = endpoints["serving_default"]
    for name in formats:
        edge_format = edge_formats.FORMATS[name]
        edge_format.write(serve, path / edge_format.file_name)


def warmup_sizes(image_shape: Sequence[int]) -> list[int]:
    """Returns the batch sizes of the warm-up requests; large images get fewer.

    Args:
        image_shape: `(height, width, channels)`.
    """
    n_bytes = 4 * math.prod(image_shape)
    return [n for n in BATCH_SIZES if n == min(BATCH_SIZES) or n * n_bytes <= MAX_WARMUP_BYTES]


def predict_expected(model: AnomalyDetector) -> dict[str, np.ndarray]:
    """Computes the outputs that `savedmodel_check` expects, with the model itself.

    Args:
        model: As in `export_savedmodel`.

    Returns:
        The model's outputs for the images of `build_requests`, its `threshold` and
        `pixel_threshold` for each of them, and its `image_shape`.
    """
    images = build_requests(model.image_shape)["serving_default"]["images"]
    outputs = model.predict(images, verbose=0)
    thresholds = {
        name: np.full(len(images), getattr(model, name), "float32")
        for name in ("threshold", "pixel_threshold")
    }
    return {**outputs, **thresholds, "image_shape": np.array(model.image_shape)}
