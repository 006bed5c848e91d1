"""A bundle of the fake network, and clients of its service in this process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fakes import ColorRuntime, LocalWorker, make_bundle
from numpy.typing import NDArray
from starlette.testclient import TestClient

from topseg.bundle.bundle import Bundle, read_bundle
from topseg.serve import service as service_module
from topseg.serve.config import ServeConfig
from topseg.serve.http.app import make_app
from topseg.serve.service import Service


@pytest.fixture(scope="session")
def fake(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make_bundle(tmp_path_factory.mktemp("fake") / "fake")


@pytest.fixture
def make_service(monkeypatch: pytest.MonkeyPatch, fake: Bundle) -> Callable[..., Service]:
    """Make a service whose workers are threads of this process."""
    monkeypatch.setattr(service_module, "Worker", LocalWorker)

    def make(**settings: Any) -> Service:
        models = {"fake": str(fake.folder)}
        config = ServeConfig(**{"models": models, "workers": 1, "page": False, **settings})
        return Service(config, lambda model: read_bundle(Path(model)), ColorRuntime)

    return make


@pytest.fixture
def connect(make_service: Callable[..., Service]) -> Iterator[Callable[..., Any]]:
    """Yield clients of a service that runs until the test ends."""
    with ExitStack() as stack:

        def connect(service: Service | None = None, **settings: Any) -> TestClient:
            service = service or make_service(**settings)
            client = TestClient(
                make_app(service), base_url="http://localhost", raise_server_exceptions=False
            )
            stack.enter_context(client)
            assert client.portal is not None
            client.portal.call(service.start)
            stack.callback(client.portal.call, service.close)
            return client

        yield connect


@pytest.fixture
def png(photo: NDArray[np.uint8]) -> bytes:
    """The photo as a file."""
    encoded = cv2.imencode(".png", cv2.cvtColor(photo, cv2.COLOR_RGB2BGR))[1]
    return bytes(encoded.tobytes())
