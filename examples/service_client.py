"""A mask from a running service, with Python's standard library alone.

topseg serve topformer-tiny-camvid &
python examples/service_client.py http://127.0.0.1:8000 photo.jpg mask.png
"""

import json
import sys
import urllib.error
import urllib.request
from pathlib import Path

url, photo, target = sys.argv[1:]


def ask(output: str) -> bytes:
    """Send the photo; a refusal says why in its body."""
    request = urllib.request.Request(f"{url}/segment?output={output}", Path(photo).read_bytes())
    request.add_header("Content-Type", "application/octet-stream")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()
    except urllib.error.HTTPError as error:
        sys.exit(f"{error.code}: {error.read().decode()}")


Path(target).write_bytes(ask("mask"))  # an index PNG with the classes' colours
for found in json.loads(ask("json&shapes=none"))["classes"]:
    print(f"{100 * found['share']:6.2f} %  {found['name']}")
