"""A trained model as a SavedModel for TF Serving, in a version directory of its own."""

import math
import os
import shutil
import tempfile
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from ede_keras.serving import edge_formats
from ede_keras.serving import savedmodel_check
from ede_keras.errors import InputError
from ede_keras.data.images.decoding import decode_image
from ede_keras.serving.savedmodel_check import build_requests
from ede_keras.serving.server_files import BATCH_SIZES
from ede_keras.serving.warmup import write_warmup

# Of the images of a warm-up request.
MAX_WARMUP_BYTES = 2**25


def export_savedmodel(model, output_dir, version=None, description=None, formats=(), verbose=0):
    """Exports a calibrated model to `output_dir/<version>/`, whole or not at all.

    The SavedModel is written aside, loaded and tried by a fresh process as TF Serving would, and
    renamed. Its signatures, each with one entry per image in every output:

    | signature | inputs | outputs |
    | --- | --- | --- |
    | `serving_default` | `images`, float32, as in `predict` | `score`, `label`, `threshold` |
    | `serving_bytes` | `image_bytes`, encoded PNG or JPEG of any size | the same |
    | `serving_threshold` | `images`; `threshold`, float32, one per image | the same |
    | `serving_map` | `images` | `anomaly_map` |

    Args:
        model: An `EDE` or one of its variants, calibrated.
        output_dir: Folder of all versions of the model; made if missing.
        version: Positive integer. Defaults to the one after the highest that is there.
        description: Text of a `MODEL.md` beside the SavedModel's own files; none by default.
        formats: Files for edge devices to write into the same folder, and check in the same way,
            by their own runtimes: "onnx" (`model.onnx`), "litert" (`model.tflite`), each with
            what `serving_default` takes and gives. Each needs the extra of its name.
        verbose: 1 shows how far it is.

    Returns:
        The version's folder, a `Path`.

    Raises:
        InputError: The model has no threshold, the version is there already, or a format's extra
            is not installed.
    """
    model.check_exportable()
    edge_formats.check_formats(formats)
    output_dir = Path(output_dir).expanduser()
    output_dir.mkdir(parents=True, exist_ok=True)
    final = output_dir / str(next_version(output_dir) if version is None else version)
    _check_free(final)
    # Beside its final place, for a rename is one step within a file system alone; TF Serving
    # passes over names that are no integers.
    aside = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=output_dir))
    progress = keras.utils.Progbar(2, verbose=verbose, unit_name="step")  # writing, checking
    progress.update(0)
    try:
        write_savedmodel(model, aside, formats)
        progress.add(1)
        if description is not None:
            (aside / "MODEL.md").write_text(description)
        savedmodel_check.run(aside, expect(model))
        progress.add(1)
        for folder, _, files in os.walk(aside):
            os.chmod(folder, 0o755)
            for name in files:
                os.chmod(Path(folder, name), 0o644)
        _check_free(final)
        os.rename(aside, final)
    finally:
        shutil.rmtree(aside, ignore_errors=True)
    return final


def next_version(output_dir):
    """One more than the highest version in a folder; 1 if there is none."""
    return 1 + max((int(p.name) for p in Path(output_dir).iterdir() if p.name.isdigit()), default=0)


def _check_free(final):
    if not final.name.isdigit() or int(final.name) < 1:
        raise InputError(f"`version` must be a positive integer. Received: {final.name}")
    if final.exists():
        raise InputError(
            f"A version that is there is never touched; choose another. Received: {final}"
        )


def build_endpoints(model):
    """The functions of the signatures: `{name: (function, input specs)}`."""
    shape = tuple(model.image_shape)
    images = tf.TensorSpec((None, *shape), tf.float32, name="images")
    encoded = tf.TensorSpec((None,), tf.string, name="image_bytes")
    threshold = tf.TensorSpec((None,), tf.float32, name="threshold")
    scorer = keras.Model(model.inputs, [model.output["score"], model.output["label"]])
    mapper = keras.Model(model.inputs, model.output["anomaly_map"])

    def checked(images):
        images = tf.ensure_shape(images, (None, *shape))
        # TensorFlow's kernels take no images for images of another shape.
        some = tf.debugging.assert_positive(tf.shape(images)[0], "Expected at least 1 image")
        with tf.control_dependencies([some]):
            return tf.identity(images)

    # A function of its own, so that three signatures trace it once. Compiled by no XLA, as none
    # of them: a server has it off and would refuse every request.
    @tf.function(input_signature=[images], jit_compile=False)
    def serve(images):
        score, label = scorer(checked(images), training=False)
        own = tf.fill(tf.shape(score), tf.convert_to_tensor(model.anomaly_score.threshold))
        return {"score": score, "label": label, "threshold": own}

    def serve_bytes(image_bytes):
        decode = tf.TensorSpec(shape, tf.float32)
        return serve(
            tf.map_fn(lambda e: decode_image(e, shape), image_bytes, fn_output_signature=decode)
        )

    def serve_threshold(images, threshold):
        score = serve(images)["score"]
        return {
            "score": score,
            "label": tf.cast(score > threshold, "int32"),
            "threshold": tf.broadcast_to(threshold, tf.shape(score)),
        }

    def serve_map(images):
        return {"anomaly_map": mapper(checked(images), training=False)}

    return {
        "serving_default": (serve, [images]),
        "serving_bytes": (serve_bytes, [encoded]),
        "serving_threshold": (serve_threshold, [images, threshold]),
        "serving_map": (serve_map, [images]),
    }


def write_savedmodel(model, path, formats=()):
    """Writes the SavedModel, its warm-up requests, and the files of other formats."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    endpoints = build_endpoints(model)
    for name, (function, signature) in endpoints.items():
        endpoint = tf.function(function, input_signature=signature, jit_compile=False)
        archive.add_endpoint(name, endpoint)
    archive.write_out(str(path), verbose=False)
    extra = path / "assets.extra"
    extra.mkdir()
    sizes = warmup_sizes(model.image_shape)
    requests = [r for n in sizes for r in build_requests(model.image_shape, n).items()]
    write_warmup(extra / "tf_serving_warmup_requests", requests)
    for name in formats:
        edge_formats.FORMATS[name].write(
            endpoints["serving_default"][0], path / edge_formats.FORMATS[name].file_name
        )


def warmup_sizes(image_shape):
    """The batch sizes to warm up with: all, or of large images the smaller ones."""
    n_bytes = 4 * math.prod(image_shape)
    return [n for n in BATCH_SIZES if n == min(BATCH_SIZES) or n * n_bytes <= MAX_WARMUP_BYTES]


def expect(model):
    """What the model itself gives for the requests of the check, a dict of arrays."""
    images = build_requests(model.image_shape)["serving_default"]["images"]
    found = model.predict(images, verbose=0)
    threshold = np.full(len(images), model.threshold, "float32")
    return {**found, "threshold": threshold, "image_shape": model.image_shape}
