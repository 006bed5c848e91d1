"""Code for the page's modules, run in node."""

import json
import shutil
import subprocess
from typing import Any

from numpy.typing import NDArray

from topseg.serve.page.files import FOLDER

NODE = shutil.which("node")


def node(module: str, code: str, *data: NDArray[Any]) -> bytes:
    """Run code with the names of a module of the page; what it gives to ``put`` comes back.

    ``data`` are the arrays' bytes, which the code finds as ``data`` (ArrayBuffers).
    """
    header = json.dumps([array.nbytes for array in data]).encode()
    script = f"""
        import * as page from {json.dumps((FOLDER / module).as_uri())};
        import {{ readFileSync, writeSync }} from "node:fs";
        const put = (bytes) => {{
          for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes.subarray(at));
        }};
        const input = readFileSync(0), line = input.indexOf(10);
        const data = [];
        let at = line + 1;
        for (const size of JSON.parse(input.subarray(0, line))) {{
          data.push(Uint8Array.from(input.subarray(at, at + size)).buffer);
          at += size;
        }}
        {code}
    """
    assert NODE is not None
    command = [NODE, "--no-warnings", "--input-type=module", "-e", script]
    sent = header + b"\n" + b"".join(array.tobytes() for array in data)
    run = subprocess.run(command, input=sent, capture_output=True, check=False, timeout=300)
    assert run.returncode == 0, run.stderr.decode()
    return run.stdout
