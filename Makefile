# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
NATIVE := setup.py $(wildcard native/*.cpp native/src/*.cpp native/topseg/*.hpp native/topseg/*/*.hpp)

.PHONY: install demo test coverage wasm page docs lint tidy bench clean

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt $(NATIVE)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "topseg needs Python 3.11 or newer; say which: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) -e '.[train,onnx,openvino,litert,serve,geo,video,docs,dev]'
	touch $@

demo: install
	$(BIN)/topseg demo

test: install
	$(BIN)/python -m pytest tests/native  # one process alone: they share the folders of builds
	$(BIN)/python -m pytest --ignore tests/native --numprocesses 2 --dist loadfile

# The same, with what the tests reach; below the floor of pyproject.toml it fails.
coverage: install
	$(BIN)/python -m pytest --cov --cov-report=term

# The engine as WebAssembly, after a change in native/ (needs Debian's clang for wasm32).
wasm:
	native/wasm/build.sh

# onnxruntime-web beside the page, for WebGPU (needs npm).
page: install
	npm install --prefix build/page --no-save --ignore-scripts --silent onnxruntime-web@1.30.0
	$(BIN)/python -m topseg.serve.page build/page/node_modules/onnxruntime-web

# The documentation site, in build/site; a warning is an error. To read it with its search:
# python -m http.server --directory build/site
docs: install
	$(BIN)/python docs/site
	$(BIN)/python -m zensical build --clean --strict

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	find native examples tests -name '*.[ch]pp' -o -name '*.h' 2>/dev/null \
	    | xargs $(BIN)/clang-format --dry-run --Werror --fallback-style=none

# Some minutes; a test runs it on two files (needs clang-tidy 14).
tidy:
	find native/src native/tools -name '*.cpp' | xargs -n 1 -P 2 sh -c \
	    'clang-tidy --quiet "$$0" -- -std=c++17 -Inative -Inative/include -Inative/tools'

bench: install
	for script in benchmarks/*.py; do $(BIN)/python $$script || exit 1; done

clean:
	rm -rf .venv .cache build demo .pytest_cache .mypy_cache .ruff_cache
