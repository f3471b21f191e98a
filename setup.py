"""The one part of the package that is compiled; all else is in pyproject.toml."""

from glob import glob

from setuptools import Extension, setup

KERNEL = "onefold/features/kernel"

setup(
    ext_modules=[
        Extension(
            "onefold.features._kernel",
            sorted(glob(f"{KERNEL}/*.c")),
            depends=sorted(glob(f"{KERNEL}/*.h")),
            # A fused multiply-add would round once where every other engine rounds twice.
            extra_compile_args=["-O3", "-ffp-contract=off", "-fvisibility=hidden"],
            # Without a compiler, or Python's headers, the package is installed without the kernel.
            optional=True,
        )
    ]
)
