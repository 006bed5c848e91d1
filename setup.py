"""The compiled tail and lean loss; where they cannot be built, NumPy and torch do their work.

Everything else about the package is in pyproject.toml.
"""

import sys
import sysconfig

from setuptools import Extension, setup

# One binary for all Pythons from 3.11 on; free-threaded ones have no limited API.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")

# Without contraction all processors give the same mask (see native/topseg/tail.hpp).
FLAGS = (
    ["/std:c++17", "/O2", "/fp:precise", "/EHsc"]
    if sys.platform == "win32"
    else ["-std=c++17", "-O3", "-g0", "-ffp-contract=off", "-fvisibility=hidden", "-pthread"]
)

setup(
    ext_modules=[
        Extension(
            "topseg._native",
            ["native/binding.cpp"],
            include_dirs=["native"],
            depends=[f"native/topseg/{name}.hpp" for name in ("cpu", "exp", "loss", "tail")],
            define_macros=[("Py_LIMITED_API", "0x030B0000")] if LIMITED else [],
            py_limited_api=LIMITED,
            extra_compile_args=FLAGS,
            extra_link_args=[] if sys.platform == "win32" else ["-pthread"],
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
