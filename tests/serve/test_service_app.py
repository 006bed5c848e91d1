"""What the service answers over HTTP."""

import gzip
import io
import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import ColorRuntime
from numpy.typing import NDArray
from PIL import Image

from topseg.bundle.bundle import Bundle
from topseg.inference.predictor import Predictor

Connect = Callable[..., Any]


@pytest.fixture
def client(connect: Connect) -> Any:
    return connect()


@pytest.fixture
def mask(fake: Bundle, photo: NDArray[np.uint8]) -> NDArray[Any]:
    """What a Predictor says of the photo."""
    return Predictor(ColorRuntime(fake))(photo).mask


def test_mask_is_the_predictors(client: Any, png: bytes, mask: NDArray[Any]) -> None:
    answer = client.post("/segment", content=png)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    picture = Image.open(io.BytesIO(answer.content))
    assert picture.mode == "P"
    assert picture.getpalette()[:6] == [255, 0, 0, 0, 255, 0]
    np.testing.assert_array_equal(np.asarray(picture), mask)
    stages = [part.partition(";")[0] for part in answer.headers["server-timing"].split(", ")]
    assert stages == ["queue", "decode", "resize", "network", "tail", "encode"]


@pytest.mark.parametrize("kind", [".jpg", ".webp"])
def test_other_formats(client: Any, photo: NDArray[np.uint8], fake: Bundle, kind: str) -> None:
    data = cv2.imencode(kind, photo)[1].tobytes()
    seen = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    expected = Predictor(ColorRuntime(fake))(np.asarray(seen, np.uint8)).mask
    picture = Image.open(io.BytesIO(client.post("/segment", content=data).content))
    np.testing.assert_array_equal(np.asarray(picture), expected)


def test_form_and_packed_body(client: Any, png: bytes) -> None:
    expected = client.post("/segment", content=png).content
    form = client.post("/segment", data={"note": "x"}, files={"image": ("a.png", png)})
    assert form.content == expected
    packed = client.post(
        "/segment", content=gzip.compress(png), headers={"Content-Encoding": "gzip"}
    )
    assert packed.content == expected


@pytest.mark.parametrize(
    ("query", "accept", "kind"),
    [
        ("", "*/*", "image/png"),
        ("", "image/png", "image/png"),
        ("", "application/json", "application/json"),
        ("", "image/jpeg", "image/jpeg"),
        ("?output=json", "image/png", "application/json"),
        ("?output=overlay&alpha=1", "*/*", "image/jpeg"),
        ("?output=color", "*/*", "image/png"),
    ],
)
def test_forms_of_the_answer(client: Any, png: bytes, query: str, accept: str, kind: str) -> None:
    answer = client.post(f"/segment{query}", content=png, headers={"Accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, kind)
    if kind != "application/json":
        assert Image.open(io.BytesIO(answer.content)).size == (130, 96)


def test_json_says_where_classes_are(client: Any, png: bytes, mask: NDArray[Any]) -> None:
    answer = client.post("/segment?output=json&shapes=all", content=png).json()
    assert answer["size"] == [96, 130]
    assert sum(one["area"] for one in answer["classes"]) == 96 * 130
    for one in answer["classes"]:
        assert one["area"] == (mask == one["index"]).sum()
        assert one["name"] == ("red", "green", "blue")[one["index"]]
        assert one["rle"]["size"] == [96, 130]
        assert one["polygons"]


def test_colour_is_the_palettes(client: Any, png: bytes, mask: NDArray[Any]) -> None:
    answer = client.post("/segment?output=color", content=png)
    colors = np.array([(255, 0, 0), (0, 255, 0), (0, 0, 255)], np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), colors[mask])


@pytest.mark.parametrize(
    ("path", "content", "status", "message"),
    [
        ("/segment", b"", 415, "neither JPEG nor PNG nor WebP"),
        ("/segment", b"GIF89a", 415, "neither JPEG nor PNG nor WebP"),
        ("/segment", b"\x89PNG\r\n\x1a\n", 400, "header is damaged"),
        ("/segment?model=other", None, 404, "no model 'other' here, known: fake"),
        ("/segment?alpha=2", None, 400, "alpha"),
        ("/segment?output=gif", None, 400, "output"),
        ("/nowhere", None, 405, "/docs"),
        ("/v2/models/other/infer", b"{}", 404, "no model 'other'"),
        ("/v2/models/fake/versions/2/infer", b"{}", 404, "only version 1"),
    ],
)
def test_refusals(
    client: Any, png: bytes, path: str, content: bytes | None, status: int, message: str
) -> None:
    answer = client.post(path, content=png if content is None else content)
    assert answer.status_code == status
    assert message in answer.json()["error"]


def test_truncated_image(client: Any, png: bytes) -> None:
    answer = client.post("/segment", content=png[:-20])
    assert (answer.status_code, "truncated" in answer.json()["error"]) == (400, True)


def test_limits(connect: Connect, png: bytes) -> None:
    client = connect(max_pixels=96 * 130 - 1, max_request_bytes=len(png))
    answer = client.post("/segment", content=png)
    assert answer.status_code == 413
    assert "96x130 pixels" in answer.json()["error"]
    assert client.post("/segment", content=png + b"0").status_code == 413
    assert client.post("/segment", content=iter([png, b"0"])).status_code == 413
    packed = gzip.compress(bytes(len(png) + 1))
    answer = client.post("/segment", content=packed, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, "unpacked" in answer.json()["error"]) == (413, True)


def test_bodies_in_memory_are_bounded(connect: Connect, png: bytes) -> None:
    client = connect(max_held_bytes=len(png) - 1)
    answer = client.post("/segment", content=png)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    assert client.post("/segment", content=png[:100]).status_code == 400  # let go of again


def test_keys(connect: Connect, png: bytes) -> None:
    client = connect(api_keys=("right-key", "other-key"))
    for key in ("", "Bearer wrong-key", "right-key-and-more", "Bearer rightk\xe9y"):
        answer = client.post("/segment", content=png, headers={b"Authorization": key.encode()})
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"] == "Bearer"
    for scheme in ("Bearer", "bearer"):  # RFC 9110, 11.1: a scheme has no case
        good = {"Authorization": f"{scheme} other-key"}
        assert client.post("/segment", content=png, headers=good).status_code == 200
    assert client.get("/v2/health/ready").status_code == 200
    for path in ("/v2", "/metrics", "/docs", "/openapi.json", "/v2/models/fake"):
        assert client.get(path).status_code == 401, path


def test_other_names_and_origins_are_refused(connect: Connect, png: bytes) -> None:
    client = connect()
    for host in ("evil.example", "localhost.evil.example", "[::1", ""):
        refused = client.get("/v2", headers={"Host": host})
        assert (refused.status_code, "'hosts'" in refused.json()["error"]) == (400, True)
    for host in ("LOCALHOST:8000", "127.0.0.1:9", "[::1]:8000"):
        assert client.get("/v2", headers={"Host": host}).status_code == 200
    answer = client.post("/segment", content=png, headers={"Origin": "https://a.example"})
    assert "access-control-allow-origin" not in answer.headers
    client = connect(hosts=("*.example.org",))
    assert client.get("/v2", headers={"Host": "a.example.org:1"}).status_code == 200
    assert client.get("/v2", headers={"Host": "example.net"}).status_code == 400
    client = connect(cors_origins=("https://a.example",), api_keys=("long-enough",))
    preflight = client.options(
        "/segment",
        headers={"Origin": "https://a.example", "Access-Control-Request-Method": "POST"},
    )
    assert preflight.headers["access-control-allow-origin"] == "https://a.example"


def test_request_ids_and_logs(client: Any, png: bytes, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "topseg.serve")
    answer = client.post("/segment", content=png, headers={"X-Request-ID": "a-1"})
    assert answer.headers["x-request-id"] == "a-1"
    assert len(client.get("/v2", headers={"X-Request-ID": "a b\n"}).headers["x-request-id"]) == 32
    fields = next(r.fields for r in caplog.records if getattr(r, "fields", {}).get("bytes"))
    assert (fields["request_id"], fields["status"], fields["path"]) == ("a-1", 200, "/segment")


def test_metrics(client: Any, png: bytes) -> None:
    client.post("/segment", content=png)
    client.post("/segment", content=b"no")
    lines = client.get("/metrics").text.splitlines()
    for line in (
        'topseg_request_seconds_count{route="/segment",status="200"} 1.0',
        'topseg_refused_total{reason="format"} 1.0',
        'topseg_stage_seconds_count{model="fake",stage="network"} 1.0',
        'topseg_batch_images_count{model="fake"} 1.0',
        'topseg_queue_requests{model="fake"} 0.0',
        'topseg_workers_ready{model="fake"} 1.0',
        "topseg_body_bytes 0.0",
    ):
        assert line in lines


def test_health_and_metadata(connect: Connect) -> None:
    client = connect()
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").status_code == 200
    assert client.get("/v2/models/fake/ready").json() == {"name": "fake", "ready": True}
    assert client.get("/v2/models/fake/versions/1/ready").status_code == 200
    assert "binary_tensor_data" in client.get("/v2").json()["extensions"]
    about = client.get("/v2/models/fake").json()
    assert about["inputs"] == [{"name": "images", "datatype": "UINT8", "shape": [-1, -1, -1, 3]}]
    assert [one["shape"] for one in about["outputs"]] == [[-1, 3, -1, -1], [-1, -1, -1]]


def test_not_ready_before_the_first_inference(make_service: Callable[..., Any], png: bytes) -> None:
    from starlette.testclient import TestClient

    from topseg.serve.http.app import make_app

    client = TestClient(make_app(make_service()), base_url="http://localhost")
    assert client.get("/v2/health/live").status_code == 200
    assert client.get("/v2/health/ready").status_code == 503
    assert client.get("/v2/models/fake/ready").status_code == 503
    answer = client.post("/segment", content=png)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")


def test_inference_by_json_and_binary(client: Any, fake: Bundle) -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 32, 64, 3), np.uint8)
    logits = ColorRuntime(fake)(images)
    tensor = {"name": "images", "datatype": "UINT8", "shape": images.shape}
    request = {"id": "x", "inputs": [tensor | {"data": images.tolist()}]}
    answer = client.post("/v2/models/fake/infer", json=request).json()
    assert (answer["id"], answer["model_name"]) == ("x", "fake")
    found = {one["name"]: np.reshape(one["data"], one["shape"]) for one in answer["outputs"]}
    np.testing.assert_array_equal(found["logits"].astype(np.float32), logits)
    assert found["masks"].shape == (2, 32, 64)

    request = {
        "inputs": [tensor | {"parameters": {"binary_data_size": images.nbytes}}],
        "outputs": [{"name": "logits", "parameters": {"binary_data": True}}],
    }
    head = json.dumps(request).encode()
    headers = {"Inference-Header-Content-Length": str(len(head))}
    answer = client.post("/v2/models/fake/infer", content=head + images.tobytes(), headers=headers)
    at = int(answer.headers["inference-header-content-length"])
    described = json.loads(answer.content[:at])["outputs"]
    assert described[0]["parameters"] == {"binary_data_size": logits.nbytes}
    np.testing.assert_array_equal(
        np.frombuffer(answer.content[at:], "<f4").reshape(logits.shape), logits
    )


def test_tensors_are_bounded(connect: Connect) -> None:
    client = connect(max_batch_pixels=64 * 64)
    shape = (2, 32, 96, 3)
    tensor = {"name": "images", "datatype": "UINT8", "shape": shape}
    request = {"inputs": [tensor | {"data": np.zeros(shape, int).ravel().tolist()}]}
    answer = client.post("/v2/models/fake/infer", json=request)
    assert (answer.status_code, "2x32x96" in answer.json()["error"]) == (413, True)


def test_deadline(connect: Connect, png: bytes) -> None:
    client = connect()
    late = client.post("/segment", content=png, headers={"X-Request-Timeout": "1e-9"})
    assert late.status_code == 504
    wrong = client.post("/segment", content=png, headers={"X-Request-Timeout": "-1"})
    assert wrong.status_code == 400


@pytest.mark.parametrize("module", ["topseg.serve.http.app", "topseg.serve.workers.pipeline"])
def test_import_is_free_of_torch(module: str) -> None:
    code = f"import sys, {module}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_page_and_interface_description(connect: Connect) -> None:
    client = connect(page=True)
    assert "<title>" in client.get("/").text
    assert client.get("/page.json").json()["models"] == ["fake"]
    assert client.get("/app.js").headers["content-type"].startswith("text/javascript")
    for path in ("/../pyproject.toml", "/%2e%2e/page.py", "//etc/passwd", "/page.py"):
        assert client.get(path).status_code == 404
    schema = client.get("/openapi.json").json()
    assert set(schema["paths"]) >= {"/segment", "/v2/models/{name}/infer", "/v2/health/ready"}
    docs = client.get("/docs").text
    assert "POST /segment" in docs
    assert "<script" not in docs
    assert "http" not in docs.replace("http-equiv", "")


def test_page_keeps_graphs_where_there_are_keys(connect: Connect) -> None:
    client = connect(page=True, api_keys=("long-enough",))
    assert client.get("/").status_code == 200
    assert client.get("/models/fake/metadata.json").json()["graphs"] == {}


@pytest.mark.parametrize("path", ["/v2/health/live", "/v2/models/fake", "/metrics", "/docs", "/no"])
def test_head_is_get_without_the_body(client: Any, path: str) -> None:
    got, head = client.get(path), client.head(path)
    assert head.status_code == got.status_code
    assert head.headers["content-type"] == got.headers["content-type"]
    assert head.content == b""
    assert int(head.headers["content-length"]) > 0


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", "/segment", "POST"),
        ("GET", "/segment", "POST"),
        ("GET", "/v2/models/fake/infer", "POST"),
        ("POST", "/v2/health/live", "GET, HEAD"),
        ("DELETE", "/nowhere", "GET, HEAD"),
    ],
)
def test_other_methods_are_told_which_are_allowed(
    client: Any, method: str, path: str, allow: str
) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, answer.headers["allow"]) == (405, allow)
    assert "see /docs" in answer.json()["error"]


def test_long_words_are_not_repeated(client: Any, png: bytes) -> None:
    for path in (f"/segment?model={'a' * 5000}", f"/v2/models/{'a' * 5000}", f"/{'a' * 5000}"):
        answer = client.post(path, content=png) if "?" in path else client.get(path)
        assert answer.status_code == 404
        assert len(answer.json()["error"]) < 400


def test_what_is_unpacked_and_answered_counts_as_held(connect: Connect, png: bytes) -> None:
    client = connect(max_held_bytes=100_000)
    packed = gzip.compress(png + bytes(200_000))
    answer = client.post("/segment", content=packed, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    tensor = {"name": "images", "datatype": "UINT8", "shape": [1, 256, 256, 3], "data": []}
    size = 256 * 256 * 3
    tensor["parameters"] = {"binary_data_size": size}
    head = json.dumps({"inputs": [tensor]}).encode()
    length = {"Inference-Header-Content-Length": str(len(head))}
    client = connect(max_held_bytes=size + 10_000)
    answer = client.post("/v2/models/fake/infer", content=head + bytes(size), headers=length)
    assert answer.status_code == 503  # the masks as text are as large again
    assert "topseg_body_bytes 0.0" in client.get("/metrics").text
