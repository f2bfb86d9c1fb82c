"""The files of the page on production parse, and fit each other and the export."""

import shlex
import shutil

import keras
import numpy as np
import pytest
from commands import ROOT, blocks
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from ede_keras.datasets import load_dataset
from ede_keras.protocols import make_split
from ede_keras.serving.server_files import BATCH_SIZES, write_server_files
from ede_keras.utils.files import write_csv

PAGE = (ROOT / "docs/pages/deploying.md").read_text()
MODELS, MONITORING = blocks(PAGE, "proto")


@pytest.fixture(scope="module")
def documents():
    """The documents of the YAML blocks: Deployment, Service, Prometheus' configuration."""
    yaml = pytest.importorskip("yaml", reason="PyYAML comes with the extra docs")
    return [part for block in blocks(PAGE, "yaml") for part in yaml.safe_load_all(block)]


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files that an export to `serving/ede` gets."""
    folder = tmp_path_factory.mktemp("serving") / "ede"
    folder.mkdir()
    return {path.name: path.read_text() for path in write_server_files(folder)}


def parse_models(text):
    config_pb2 = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2", reason="comes with the extra serving"
    )
    (config,) = text_format.Parse(text, config_pb2.ModelServerConfig()).model_config_list.config
    return config


def flags_of(arguments):
    """Flags as a dict; one without a value is true."""
    parts = (argument.lstrip("-").partition("=") for argument in arguments)
    return {name: value or "true" for name, _, value in parts}


def options_of(command, name):
    """The values of a command's option, such as -v."""
    words = shlex.split(command)
    return [words[i + 1] for i, word in enumerate(words) if word == name]


def docker_of(page):
    (command,) = (
        line
        for block in blocks(page, "sh")
        for line in block.splitlines()
        if line.startswith("docker")
    )
    image = next(word for word in shlex.split(command) if word.startswith("tensorflow/"))
    return command, image


def test_two_versions_of_the_model_that_an_export_describes(written):
    config, alone = parse_models(MODELS), parse_models(written["models.config"])
    for field in ("name", "base_path", "model_platform"):
        assert getattr(config, field) == getattr(alone, field)
    versions = list(config.model_version_policy.specific.versions)
    assert versions == [1, 2]
    assert dict(config.version_labels) == {"stable": 1, "canary": 2}
    for label in config.version_labels:
        assert f"`{label}`" in PAGE
    assert f"/v1/models/{config.name}/labels/stable:predict" in PAGE


def test_monitoring_is_on():
    """TF Serving's Python package lacks this message, so it is described here."""
    file = descriptor_pb2.FileDescriptorProto(name="monitoring.proto", package="made")
    prometheus = file.message_type.add(name="PrometheusConfig")
    prometheus.field.add(name="enable", number=1, type=8, label=1)  # bool
    prometheus.field.add(name="path", number=2, type=9, label=1)  # string
    outer = file.message_type.add(name="MonitoringConfig")
    inner = {"type": 11, "type_name": ".made.PrometheusConfig", "label": 1}
    outer.field.add(name="prometheus_config", number=1, **inner)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    message = message_factory.GetMessageClass(pool.FindMessageTypeByName("made.MonitoringConfig"))
    config = text_format.Parse(MONITORING, message()).prometheus_config
    assert config.enable and config.path == "/monitoring/prometheus/metrics"


def test_the_manifest_fits_the_files_and_the_export(documents, written):
    deployment, service, _ = documents
    assert (deployment["kind"], service["kind"]) == ("Deployment", "Service")
    config, pod = parse_models(MODELS), deployment["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    labels = pod["metadata"]["labels"]
    assert deployment["spec"]["selector"]["matchLabels"] == labels == service["spec"]["selector"]

    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}  # those of the image
    served = {port["targetPort"]: port["port"] for port in service["spec"]["ports"]}
    assert served == ports
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        asked = container[probe]["httpGet"]
        assert asked == {"path": f"/v1/models/{config.name}", "port": "rest"}

    volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
    mounts = {mount["mountPath"]: mount for mount in container["volumeMounts"]}
    assert {mount["name"] for mount in mounts.values()} == set(volumes)
    assert all(mount["readOnly"] and "subPath" not in mount for mount in mounts.values())
    claim = volumes[mounts[config.base_path]["name"]]["persistentVolumeClaim"]["claimName"]
    assert f"`{claim}`" in PAGE
    # The files of the config map are those that the command puts there.
    (command,) = (block for block in blocks(PAGE, "sh") if block.startswith("kubectl"))
    folder, mount = next((path, m) for path, m in mounts.items() if path != config.base_path)
    assert f"create configmap {volumes[mount['name']]['configMap']['name']} " in command
    given = flags_of(container["args"])
    inside = {given[f"{name}_config_file"] for name in ("model", "monitoring")}
    assert inside == {f"{folder}/{name.split('=')[1]}" for name in from_files(command)}
    # The other one is beside the versions.
    batching = given["batching_parameters_file"].rsplit("/", 1)
    assert batching[0] == config.base_path and batching[1] in written
    assert (
        given["enable_batching"] == given["allow_version_labels_for_unavailable_models"] == "true"
    )
    assert f"every {given['model_config_file_poll_wait_seconds']} seconds" in PAGE
    _, image = docker_of(PAGE)
    assert image == container["image"] == docker_of((ROOT / "docs/pages/serving.md").read_text())[1]


def from_files(command):
    return [word for word in command.split() if word.startswith("--from-file=")]


def test_prometheus_finds_the_pods(documents):
    deployment, _, prometheus = documents
    (job,) = prometheus["scrape_configs"]
    assert f'path: "{job["metrics_path"]}"' in MONITORING
    (rule,) = job["relabel_configs"]
    pod = deployment["spec"]["template"]
    app, port = rule["regex"].split(";")
    assert pod["metadata"]["labels"] == {"app": app}
    assert port in [named["name"] for named in pod["spec"]["containers"][0]["ports"]]
    assert len(rule["source_labels"]) == 2


def test_docker_uses_the_files_that_the_export_writes(written):
    """With the flags that their first lines name."""
    command, image = docker_of(PAGE)
    given = flags_of(command.split(f"{image} ")[1].split())
    named = {}
    for text in written.values():
        comment = text.splitlines()[0].removeprefix("# tensorflow_model_server ")
        named |= flags_of(comment.split())
    assert given == named
    config = parse_models(written["models.config"])
    (volume,) = options_of(command, "-v")
    here, there, _ = volume.split(":")
    assert there == config.base_path
    (export,) = (
        line for block in blocks(PAGE, "sh") for line in block.splitlines() if "ede_k" in line
    )
    assert f"--output_dir={here.removeprefix('$PWD/')} --server_files" in export
    assert options_of(command, "-p") == ["8500:8500", "8501:8501"]


def test_what_the_page_says_of_batching(written):
    text = written["batching.txt"]
    assert f"limits a batch to {BATCH_SIZES[-1]} images" in PAGE
    assert "allows the sizes {}, {} and {}".format(*BATCH_SIZES) in " ".join(PAGE.split())
    for name in ("num_batch_threads", "batch_timeout_micros"):
        assert f"- `{name}`" in PAGE and name in text


def test_the_check_for_drift(run_dir, tmp_path, monkeypatch, capsys):
    """As it stands: quiet on images like those of the calibration, loud on darker ones."""
    for name in ("model.keras", "calibration.csv"):
        shutil.copy(run_dir / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    model = keras.saving.load_model("model.keras")
    split = make_split(load_dataset("digits"), normal=2, seed=0)
    normal = split.x_test[split.y_test == 0]
    (snippet,) = blocks(PAGE, "python")
    found = {}
    for name, images in (("as before", normal), ("dark", normal * 0.3)):
        scores = model.predict(images, verbose=0)["score"]
        write_csv("logged.csv", {"score": scores, "threshold": [model.threshold] * len(scores)})
        names = {}
        exec(snippet, names)
        found[name] = names
        assert capsys.readouterr().out.count("\n") == 2
    before, dark = found["as before"], found["dark"]
    # Two of the 32 held-out images at most are above: a share of .05 of them.
    assert np.mean(before["expected"] > model.threshold) <= 2 / 32
    assert not before["drift"].is_clear and dark["drift"].is_clear
    assert before["above"] < 0.2 < dark["above"]
