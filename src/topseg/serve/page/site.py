"""Site: the page's files by address, answered from a table that was made beforehand."""

from __future__ import annotations

import dataclasses
import mimetypes
from pathlib import Path
from typing import Final

from starlette.responses import FileResponse, Response

from topseg.bundle.bundle import Bundle
from topseg.serve.page.files import page_files
from topseg.serve.refusal import Refusal, shown
from topseg.serve.service import Service

_TYPES: Final = {".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm"}


class Site:
    """What is at ``/`` and below."""

    def __init__(self, service: Service) -> None:
        """List the files."""
        self._service = service
        self._bundles: list[Bundle] = []
        self._files: dict[str, Path | bytes] = {}

    def has(self, path: str) -> bool:
        """Return whether a path is one of the page's."""
        return path.removeprefix("/") in self._table()

    def answer(self, address: str) -> Response:
        """Return a file.

        Raises:
            Refusal: There is none at this address.
        """
        content = self._table().get(address)
        if content is None:
            raise Refusal(404, f"nothing at {shown(f'/{address}')}; see /docs", reason="route")
        suffix = Path(address or "index.html").suffix
        kind = _TYPES.get(suffix) or mimetypes.types_map.get(suffix, "application/octet-stream")
        headers = {"Cache-Control": "no-cache"}
        if isinstance(content, Path):  # sent piece by piece: a graph is large
            return FileResponse(content, media_type=kind, headers=headers)
        return Response(content, media_type=kind, headers=headers)

    def _table(self) -> dict[str, Path | bytes]:
        """The files of the models that are served now."""
        bundles = [model.bundle for model in self._service.models.values()]
        if self._service.config.page and bundles != self._bundles:
            named = zip(self._service.models, bundles, strict=True)
            shown = {name: self._shown(bundle) for name, bundle in named}
            self._files, self._bundles = page_files(shown, server=True), bundles
        return self._files

    def _shown(self, bundle: Bundle) -> Bundle:
        """A bundle as the page may hand it out: its files only where everybody may use them."""
        if not self._service.config.api_keys:
            return bundle
        bare = dataclasses.replace(bundle.metadata, graphs={}, files={})
        return dataclasses.replace(bundle, metadata=bare)
