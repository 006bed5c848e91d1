"""The compiled network, tail and lean loss; where they cannot be built, others do their work.

Everything else about the package is in pyproject.toml.
"""

import sys
import sysconfig
from glob import glob

from setuptools import Extension, setup

# One binary for all Pythons from 3.11 on; free-threaded ones have no limited API.
LIMITED = not sysconfig.get_config_var("Py_GIL_DISABLED")

# MSVC has no vector extensions, which the network is written in: there the tail and the loss alone.
WINDOWS = sys.platform == "win32"

# Without contraction all processors give the same mask (see native/topseg/tail.hpp).
FLAGS = (
    ["/std:c++17", "/O2", "/fp:precise", "/EHsc"]
    if WINDOWS
    else [
        "-std=c++17",
        "-O3",
        "-g0",
        "-ffp-contract=off",
        "-fno-math-errno",
        "-fno-trapping-math",
        "-fvisibility=hidden",
        "-pthread",
    ]
)

setup(
    ext_modules=[
        Extension(
            "topseg._native",
            ["native/binding.cpp", *([] if WINDOWS else sorted(glob("native/src/path_*.cpp")))],
            include_dirs=["native"],
            depends=glob("native/topseg/**/*.hpp", recursive=True),
            define_macros=[
                *([("Py_LIMITED_API", "0x030B0000")] if LIMITED else []),
                *([("TOPSEG_NO_NETWORK", "1")] if WINDOWS else []),
            ],
            py_limited_api=LIMITED,
            extra_compile_args=FLAGS,
            extra_link_args=[] if WINDOWS else ["-pthread"],
            optional=True,
        )
    ],
    options={"bdist_wheel": {"py_limited_api": "cp311"}} if LIMITED else {},
)
