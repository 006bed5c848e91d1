#!/usr/bin/env bash
# What a GPU does, offline, in less than twelve minutes: benchmarks/results/gpu.md and a bundle.
#
#   benchmarks/gpu.sh wheels [PYTHON]   with a network: the packages that a machine with torch lacks
#   benchmarks/gpu.sh pack CAMVID       CamVid as JPEG, to be carried (else drawn scenes alone)
#   benchmarks/gpu.sh                   on the machine with the GPU; everything is in build/gpu
#   benchmarks/gpu.sh --stub            every step on the CPU, in a small form that measures nothing
#
# The machine has Python, torch with Triton, and a compiler (without one the compiled loss of the CPU
# is missing, no step fails). TOPSEG_GPU_SECONDS changes the time in all, PYTHON the interpreter.
set -uo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}
export OMP_WAIT_POLICY=PASSIVE CUBLAS_WORKSPACE_CONFIG=:4096:8
export PYTHONPATH="$PWD/src:$PWD/build/gpu/site${PYTHONPATH:+:$PYTHONPATH}"

# What topseg's core needs beside numpy, and what these need.
packages=(
    opencv-python-headless pillow pydantic pydantic-core annotated-types typing-inspection
    typing-extensions pyyaml rich markdown-it-py mdurl pygments cyclopts attrs docstring-parser
    rich-rst docutils safetensors onnxruntime flatbuffers protobuf packaging platformdirs requests
    certifi charset-normalizer idna urllib3 onnx onnxscript onnx-ir ml-dtypes
)

case ${1:-} in
wheels)  # one version each: those that the tests pass with
    mkdir -p build/gpu/wheels
    for package in "${packages[@]}"; do
        "$python" -m pip download --quiet --no-deps --only-binary=:all: -c constraints.txt \
            --python-version "${2:-3.12}" --implementation cp --platform manylinux_2_28_x86_64 \
            --platform manylinux_2_27_x86_64 --platform manylinux_2_17_x86_64 \
            --platform manylinux2014_x86_64 -d build/gpu/wheels "$package" ||
            echo "$package: no wheel"
    done
    du -sh build/gpu/wheels
    exit
    ;;
pack)
    exec "$python" benchmarks/gpu.py pack "$2"
    ;;
--stub) form=(--device cpu --small) ;;
*) form=(--device cuda) ;;
esac

seconds=${TOPSEG_GPU_SECONDS:-660}
end=$((SECONDS + seconds))

# Only what is missing, so that the machine's own torch and numpy stay what they are.
for wheel in build/gpu/wheels/*.whl; do
    [ -e "$wheel" ] || break
    name=$(basename "$wheel" | cut -d- -f1)
    "$python" -m pip show --quiet "$name" >/dev/null 2>&1 ||
        "$python" -m pip install --quiet --no-index --no-deps --target build/gpu/site "$wheel"
done
compgen -G "src/topseg/_native*" >/dev/null || "$python" setup.py --quiet build_ext --inplace || true

# Each step has a share of the time that is left, and none takes the others with it.
run() {  # STEP, most seconds
    local left=$((end - SECONDS)) limit=$2
    [ "$limit" -lt "$left" ] || limit=$left
    [ "$limit" -gt 5 ] || { echo "$1: no time left"; return; }
    echo "== $1 (at most $limit s)"
    timeout --kill-after=10 "$((limit + 15))" \
        "$python" benchmarks/gpu.py "$1" "${form[@]}" --seconds "$limit" || echo "== $1 failed"
}
run lean 60
run resume 90
run evaluation 60
run steps 200
run loader 60
run onnxruntime 30
run train "$((end - SECONDS))"
echo "benchmarks/results/gpu.md, build/gpu/bundle"
