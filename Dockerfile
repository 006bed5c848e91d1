# The service: small, without torch, not root. Give it a run or a bundle; ONNX Runtime is there for
# networks that topseg's own engine does not know, whose bundle has a graph:
#
#   topseg export MODEL --out bundle --formats onnx
#   docker build -t topseg .
#   docker run --rm -p 127.0.0.1:8000:8000 -v "$PWD/bundle:/models/bundle:ro" topseg /models/bundle

FROM python:3.12-slim AS build
# The engine is compiled here, so that no compiler is in the image that runs.
RUN apt-get update && apt-get install --yes --no-install-recommends g++ \
    && rm -rf /var/lib/apt/lists/*
RUN python -m venv /opt/topseg
WORKDIR /src
COPY constraints.txt pyproject.toml setup.py README.md LICENSE NOTICE ./
COPY native native
COPY src src
RUN /opt/topseg/bin/pip install --no-cache-dir -c constraints.txt '.[serve]' onnxruntime \
    && /opt/topseg/bin/python -c "from topseg.inference.upsample import implementations as found; assert found() != ('numpy',)" \
    && /opt/topseg/bin/pip uninstall --yes pip

FROM python:3.12-slim
RUN useradd --uid 10001 --no-create-home --shell /usr/sbin/nologin topseg
COPY --from=build /opt/topseg /opt/topseg
# All addresses of the container; which ports leave it is decided by who runs it.
ENV PATH=/opt/topseg/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    OMP_WAIT_POLICY=PASSIVE \
    TOPSEG_SERVE_HOST=0.0.0.0
USER 10001
EXPOSE 8000 8001
# Nothing is written: run it with --read-only if you like.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as r; r.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=2)"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["topseg", "serve"]
