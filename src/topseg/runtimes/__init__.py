"""Runtimes: the only abstraction. Images in, stride-8 logits out, normalisation inside.

What predicts, evaluates, measures or serves knows this call and nothing of the engine behind it, so
a number has the same meaning in training, after export and on a server. ``base`` is the contract,
``registry`` has one record for each engine, and each engine is a file of its own.
"""

import os

# ONNX Runtime's builds since 1.29 send usage data to their maker, unless told not to before the
# import, which quantisation does too.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
