"""Exports in other runtimes: TensorFlow's C API, OpenVINO, onnxruntime and LiteRT.

Also exports that receive damaged or malicious image files.
"""

import importlib.util
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from commands import slow
from makers import make_backbone

from ede_keras import EDE
from ede_keras.backbones.backbone import Backbone, choose_maps
from ede_keras.errors import InputError
from ede_keras.models.variants import VARIANTS
from ede_keras.serving import savedmodel, savedmodel_check, server_files
from ede_keras.serving.edge_formats import FORMATS
from ede_keras.serving.savedmodel_check import TOLERANCE, build_requests

HERE = Path(__file__).parent
SHAPE = (16, 16, 1)
# Recipe default_no_pretext has the graph of the paper's, but for the first term of Equation (8).
EVERY = [("default_no_pretext", "full")]
EVERY += [(recipe, variant) for recipe in ("paper", "default") for variant in VARIANTS]
EVERY += [("features", "full")]


def requires(*modules):
    missing = [m for m in modules if importlib.util.find_spec(m) is None]
    reason = f"{', '.join(missing)} missing: pip install '.[serving-test]'"
    return pytest.mark.skipif(bool(missing), reason=reason)


@pytest.fixture(scope="module")
def exported(export_unchecked, tmp_path_factory):
    """Exports a model of a recipe and variant, each only once; returns `(model, folder)`."""
    done = {}

    def exported(recipe="default", variant="full"):
        if (recipe, variant) not in done:
            small = {"base_width": 4, "latent_dim": 8, "image_size": 16}
            if recipe in ("default", "features"):
                small["memory_size"] = 30
            if recipe == "features":
                small |= {"backbone": Backbone(choose_maps(make_backbone())), "image_size": 64}
            keras.utils.set_random_seed(1)
            model = VARIANTS[variant].from_recipe(recipe, SHAPE, **small)
            pixels = np.random.default_rng(1).integers(0, 256, (50, *SHAPE), dtype=np.uint8)
            if recipe == "features":
                model.prepare_training(pixels[:30])
            model.calibrate(pixels[:30], held_out=pixels[30:])
            output_dir = tmp_path_factory.mktemp("serving")
            done[recipe, variant] = model, export_unchecked(model, output_dir)
        return done[recipe, variant]

    return exported


def expected(model):
    requests = build_requests(SHAPE)
    return savedmodel.predict_expected(model), requests["serving_default"]["images"]


def assert_same(found, wanted):
    for name in ("score", "threshold"):
        allowed = TOLERANCE * (np.abs(wanted[name]) + wanted["score"].std())
        assert (np.abs(found[name] - wanted[name]) <= allowed).all()
    near = np.abs(wanted["score"] - wanted["threshold"]) <= allowed
    np.testing.assert_array_equal(found["label"][~near], wanted["label"][~near])


def run_c_api(folder, signature_name, inputs, scratch):
    """Runs a signature with the C API, in a process that does not import TensorFlow."""
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], str(folder))
    signature = loaded.signature_def[signature_name]
    names = {key: tensor.name for key, tensor in signature.outputs.items()}
    feeds = {signature.inputs[key].name: array for key, array in inputs.items()}
    request, answer = scratch / "request.npz", scratch / "answer.npz"
    np.savez(request, fetches=list(names.values()), **feeds)
    done = subprocess.run(
        [sys.executable, HERE / "c_api.py", folder, request, answer], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    with np.load(answer) as file:
        return {key: file[name] for key, name in names.items()}


@pytest.mark.parametrize(
    ("recipe", "variant"),
    # The paper's recipe builds fastest.
    [("paper", "full")] + [slow(*pair) for pair in EVERY if pair != ("paper", "full")],
)
def test_the_c_api(exported, recipe, variant, tmp_path):
    """`serving_bytes` decodes the images and then runs all of `serving_default`."""
    model, folder = exported(recipe, variant)
    wanted, _ = expected(model)
    inputs = build_requests(SHAPE)["serving_bytes"]
    assert_same(run_c_api(folder, "serving_bytes", inputs, tmp_path), wanted)


@pytest.mark.slow
@pytest.mark.parametrize("signature_name", ["serving_default", "serving_threshold", "serving_map"])
def test_the_c_api_with_other_signatures(exported, signature_name, tmp_path):
    model, folder = exported()
    wanted, _ = expected(model)
    found = run_c_api(folder, signature_name, build_requests(SHAPE)[signature_name], tmp_path)
    if signature_name == "serving_map":
        np.testing.assert_allclose(found["anomaly_map"], wanted["anomaly_map"], atol=1e-4)
    else:
        np.testing.assert_allclose(found["score"], wanted["score"], rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@requires("openvino")
@pytest.mark.parametrize(("recipe", "variant"), EVERY)
def test_openvino_reads_the_savedmodel(exported, recipe, variant):
    import openvino

    model, folder = exported(recipe, variant)
    wanted, images = expected(model)
    # On CPUs with bfloat16 instructions OpenVINO would compute in bfloat16.
    precision = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.compile_model(openvino.Core().read_model(folder), "CPU", precision)
    answer = compiled(images)
    assert_same({o.any_name: answer[o] for o in compiled.outputs}, wanted)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=requires(*FORMATS[name].modules)) for name in FORMATS]
)
@pytest.mark.parametrize(("recipe", "variant"), EVERY)
def test_a_file_for_edge_devices(exported, name, recipe, variant, tmp_path):
    model, folder = exported(recipe, variant)
    wanted, images = expected(model)
    path = folder / FORMATS[name].file_name
    FORMATS[name].write(savedmodel.build_endpoints(model)["serving_default"][0], path)
    score = FORMATS[name].load(path)
    assert_same(score(images=images), wanted)
    one = {key: array[:1] for key, array in wanted.items() if key in ("score", "label")}
    np.testing.assert_allclose(score(images=images[:1])["score"], one["score"], rtol=1e-3)


@pytest.mark.slow
@requires("tf2onnx", "onnxruntime", "ai_edge_litert")
def test_all_formats_of_an_export_are_checked(exported, tmp_path, monkeypatch):
    model, _ = exported()
    folder = savedmodel.export_savedmodel(model, tmp_path / "ede", formats=["onnx", "litert"])
    assert {p.name for p in folder.glob("model.*")} == {"model.onnx", "model.tflite"}
    # The check fails for the file of another model.
    other = EDE(SHAPE, latent_dim=4, base_width=2)
    other.set_threshold(1.0)
    serve = savedmodel.build_endpoints(other)["serving_default"][0]
    write = FORMATS["onnx"].write
    wrong = FORMATS["onnx"]._replace(write=lambda _, path: write(serve, path))
    monkeypatch.setitem(FORMATS, "onnx", wrong)
    with pytest.raises(RuntimeError, match="failed its check: onnx: "):
        savedmodel.export_savedmodel(model, tmp_path / "ede", formats=["onnx"])
    assert [p.name for p in (tmp_path / "ede").iterdir()] == ["1"]


def test_missing_formats(build, tmp_path, monkeypatch):
    model = build()
    model.set_threshold(1.0)
    with pytest.raises(
        InputError, match="`formats` must be among onnx, litert. Received: 'tflite'"
    ):
        savedmodel.export_savedmodel(model, tmp_path, formats=["tflite"])
    monkeypatch.setitem(FORMATS, "onnx", FORMATS["onnx"]._replace(modules=("no_such_module",)))
    with pytest.raises(InputError, match=r"pip install 'ede-keras\[onnx\]'. Received: no module"):
        savedmodel.export_savedmodel(model, tmp_path, formats=["onnx"])
    assert list(tmp_path.iterdir()) == []


def test_warm_up_requests_parse_with_the_real_messages(exported):
    from tensorflow_serving.apis import prediction_log_pb2

    _, folder = exported("paper")
    path = folder / "assets.extra/tf_serving_warmup_requests"
    sizes = {}
    for record in tf.data.TFRecordDataset(str(path)).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        request = log.predict_log.request
        name = request.model_spec.signature_name
        inputs = {key: tf.make_ndarray(tensor) for key, tensor in request.inputs.items()}
        n = len(next(iter(inputs.values())))
        sizes.setdefault(name, []).append(n)
        wanted = build_requests(SHAPE, n)[name]
        assert set(inputs) == set(wanted)
        for key, array in wanted.items():
            np.testing.assert_array_equal(inputs[key], array)
    assert sizes == {name: list(server_files.BATCH_SIZES) for name in build_requests(SHAPE)}


def test_server_files_parse_with_the_real_messages(tmp_path):
    from google.protobuf import text_format
    from tensorflow_serving.config import model_server_config_pb2

    output_dir = tmp_path / "parts"
    output_dir.mkdir()
    models, batching = server_files.write_server_files(output_dir)
    config = text_format.Parse(models.read_text(), model_server_config_pb2.ModelServerConfig())
    (only,) = config.model_config_list.config
    assert (only.name, only.base_path, only.model_platform) == (
        "parts",
        "/models/parts",
        "tensorflow",
    )
    text = batching.read_text()
    sizes = [int(line.split()[-1]) for line in text.splitlines() if "allowed" in line]
    # The server requires that the largest batch is the last of the allowed sizes.
    assert tuple(sizes) == server_files.BATCH_SIZES and f"value: {sizes[-1]} " in text
    models.write_text("mine")
    assert server_files.write_server_files(output_dir) == []
    assert models.read_text() == "mine"
    (tmp_path / 'a"b').mkdir()
    with pytest.raises(InputError, match="must not contain quotes"):
        server_files.write_server_files(tmp_path / 'a"b')


def png_that_claims(width, height):
    """A PNG of few bytes whose header claims this size."""

    def chunk(name, data):
        return (
            struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes((3 * width + 1) * height), 9)
    data = chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def test_a_decompression_bomb_is_refused(exported):
    """A file of 300 kB claims 100 megapixels; a large photograph is accepted."""
    _, folder = exported("paper")
    bomb, photograph = png_that_claims(10000, 10000), png_that_claims(3000, 2000)
    with savedmodel_check.open_session(folder) as signatures:
        serve = signatures["serving_bytes"]
        for _ in range(2):
            with pytest.raises(tf.errors.InvalidArgumentError, match="at most 67108864 pixels"):
                serve(image_bytes=[bomb])
            assert np.isfinite(serve(image_bytes=[photograph])["score"]).all()


@pytest.mark.slow
def test_mutated_files(exported, run_python):
    """The process survives 3,000 files, scores some and refuses the others."""
    _, folder = exported()
    scored, refused = run_python(HERE / "fuzz_bytes.py", folder, 3000).stdout.split()
    assert int(scored) > 100 and int(refused) > 100 and int(scored) + int(refused) == 3000
