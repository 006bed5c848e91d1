"""Bundles for other servers."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml

from topseg.bundle.bundle import Bundle, read_bundle, write_metadata
from topseg.bundle.metadata import Graph
from topseg.bundle.published import SHIPPED
from topseg.core.errors import InputError
from topseg.exporting.formats import finish_bundle
from topseg.serve.config import read_serve_config
from topseg.serve.deploy import kserve_manifest, triton_config, write_triton
from topseg.serve.http.guard import HEALTH
from topseg.serve.metrics import Metrics


@pytest.fixture
def bundle(fake: Bundle, tmp_path: Path) -> Bundle:
    """A bundle with files instead of graphs."""
    folder = tmp_path / "bundle"
    shutil.copytree(fake.folder, folder)
    for name in ("model.onnx", "model_mask.onnx", "openvino.xml", "openvino.bin"):
        (folder / name).write_text(name)
    graphs = {
        "onnx": Graph(file="model.onnx"),
        "onnx-mask": Graph(file="model_mask.onnx", tail=True),
        "openvino": Graph(file="openvino.xml", fixed_size=(64, 96)),
    }
    return write_metadata(folder, dataclasses.replace(fake.metadata, graphs=graphs))


@pytest.mark.parametrize(
    ("graph", "files", "output", "dims"),
    [
        ("onnx", {"model.onnx": "model.onnx"}, "logits", [3, -1, -1]),
        ("onnx-mask", {"model.onnx": "model_mask.onnx"}, "masks", [-1, -1]),
        (
            "openvino",
            {"model.xml": "openvino.xml", "model.bin": "openvino.bin"},
            "logits",
            [3, 8, 12],
        ),
    ],
)
def test_triton_model(
    bundle: Bundle, tmp_path: Path, graph: str, files: dict[str, str], output: str, dims: list[int]
) -> None:
    folder = write_triton(bundle, tmp_path / "repository", name="city", graph=graph)
    found = {path.name for path in (folder / "1").iterdir()}
    assert found == {*files, "metadata.json"}
    for name, content in files.items():
        assert (folder / "1" / name).read_text() == content
    pytest.importorskip("tritonclient.grpc", reason="tritonclient[grpc] is not installed")
    from google.protobuf import text_format
    from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig

    config = text_format.Parse((folder / "config.pbtxt").read_text(), ModelConfig())
    assert (config.name, config.max_batch_size) == ("city", 8)
    assert (config.input[0].name, config.input[0].data_type) == ("images", DataType.TYPE_UINT8)
    assert (config.output[0].name, list(config.output[0].dims)) == (output, dims)
    assert config.HasField("dynamic_batching")
    assert config.parameters["classes"].string_value == "red, green, blue"


def test_config_matches_the_graph(exported: Bundle) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    for graph in ("onnx", "onnx-mask"):
        path = exported.folder / exported.metadata.graphs[graph].file
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        text = triton_config(exported, "m", graph, 4)
        assert f'name: "{session.get_inputs()[0].name}"' in text
        assert f'name: "{session.get_outputs()[0].name}"' in text
        answer = session.run(None, {"images": np.zeros((1, 64, 64, 3), np.uint8)})[0]
        kinds = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8"}
        assert f"data_type: {kinds[answer.dtype.name]} dims" in text


def test_what_cannot_be_written(bundle: Bundle, fake: Bundle, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'onnx'"):
        write_triton(bundle, tmp_path, name="a", graph="onx")
    with pytest.raises(InputError, match="has no onnx graph"):
        write_triton(fake, tmp_path, name="a")
    (tmp_path / "a").mkdir()
    with pytest.raises(InputError, match="exists already"):
        write_triton(bundle, tmp_path, name="a")


def test_kserve_manifest_starts_this_service() -> None:
    text = kserve_manifest("city", image="topseg:1", storage="pvc://v/b", workers=2, hosts=["a.b"])
    manifest = yaml.safe_load(text)
    container = manifest["spec"]["predictor"]["containers"][0]
    assert container["env"] == [{"name": "STORAGE_URI", "value": "pvc://v/b"}]
    model, *flags = container["args"]
    pairs = [value for flag, value in zip(flags[::2], flags[1::2], strict=True) if flag == "--set"]
    config = read_serve_config(None, [model], pairs, {})
    assert config.models == {"city": "/mnt/models"}
    assert (config.workers, config.hosts) == (2, ("a.b",))
    assert flags[:4] == ["--host", "0.0.0.0", "--port", "8080"]


def test_formats_for_other_servers_lie_beside_the_graphs(bundle: Bundle) -> None:
    finish_bundle(bundle, ["triton", "kserve", "triton"])
    folder = bundle.folder
    assert (folder / "triton/bundle/1/model.onnx").read_text() == "model.onnx"
    assert (folder / "triton/bundle/config.pbtxt").read_text().startswith('name: "bundle"')
    manifest = yaml.safe_load((folder / "kserve.yaml").read_text())
    container = manifest["spec"]["predictor"]["containers"][0]
    assert container["args"][0] == "bundle=/mnt/models"
    assert read_bundle(folder).metadata == bundle.metadata


DEPLOY = Path(__file__).parents[2] / "deploy"


def test_kubernetes_runs_the_service_as_the_image_does() -> None:
    deployment, service = yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text())
    pod = deployment["spec"]["template"]
    container = pod["spec"]["containers"][0]
    settings = read_serve_config(models=["topformer-tiny-camvid"], environment={})
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"http": settings.port, "grpc": settings.grpc_port}
    assert {port["port"] for port in service["spec"]["ports"]} == set(ports.values())
    assert service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()
    drain = settings.drain_delay_s + settings.drain_s
    assert pod["spec"]["terminationGracePeriodSeconds"] > drain
    assert container["args"][0] in SHIPPED
    for probe in ("readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["path"] in HEALTH


def test_dashboard_asks_for_metrics_that_the_service_has() -> None:
    dashboard = json.loads((DEPLOY / "grafana.json").read_text())
    metrics = Metrics()
    metrics.watch({})
    known = {family.name for family in metrics.registry.collect()}
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    assert len(queries) >= 8
    for query in queries:
        names = re.findall(r"\b(?:topseg|process)_[a-z_]+", query)
        assert names, query
        for name in names:
            assert re.sub(r"_(bucket|count|sum|total)$", "", name) in known, query
