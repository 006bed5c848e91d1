"""What ONNX Runtime is told before it is loaded (the rest is in contracts/)."""

import os
import subprocess
import sys

CODE = """
import os, sys

class Watch:
    def find_spec(self, name, *_):
        if name == "onnxruntime":
            print(os.environ.get("ORT_DISABLE_TELEMETRY"))

sys.meta_path.insert(0, Watch())
import topseg.runtimes.onnx
"""


def test_no_usage_data_is_sent() -> None:
    environment = {key: value for key, value in os.environ.items() if "TELEMETRY" not in key}
    command = [sys.executable, "-c", CODE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1"]
