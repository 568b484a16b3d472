"""Compiles src_kernels/*.pyx, once per processor level, and records how it went.

Everything else about the package stands in pyproject.toml. Environment variables:

FASTSCRATCH_BUILD=auto|require|skip   auto (the default) installs even where the kernels cannot
                                      be compiled, and records why; require fails; skip compiles
                                      nothing.
FASTSCRATCH_CHECKS=1                  a slow debug build that checks every access it can.
FASTSCRATCH_SANITIZE=1                a slow build with GCC's address and undefined-behaviour
                                      sanitizers; CONTRIBUTING.md says how to run it.
FASTSCRATCH_VECTOR_BYTES=16|32|64     vectors of this size at every level, whatever its registers
                                      are: so the tile of a newer processor runs, slowly, on this
                                      one.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

PACKAGE = "fastscratch.kernels.cython_ext"
SOURCES = Path("src_kernels")
BUILD_INFO = "build_info.json"
# Asks the processor, so it is compiled for any processor and stands outside the levels' folders.
PROCESSOR_MODULE = "_processor"
KERNEL_MODULES = (
    "activations", "batch_norm", "calls", "conv2d", "conv2d_pool", "conv2d_winograd", "dense",
    "dropout", "fractional_pool2d", "im2col", "losses", "optimizers", "pool2d", "rectifiers",
    "scratch",
)  # fmt: skip

# level: (bytes of a vector, compiler flags). The base flags are spelled out because some
# distributions' compilers default to a newer processor.
X86_LEVELS = {
    "base": (16, "-march=x86-64"),
    "avx2": (32, "-march=x86-64 -mavx2 -mfma"),
    "avx512": (
        64,
        # Without the preference gcc uses half of each register: half speed.
        "-march=x86-64 -mavx2 -mfma -mavx512f -mavx512vl -mavx512bw -mavx512dq "
        "-mprefer-vector-width=512",
    ),
}
PORTABLE_LEVELS = {"base": (16, "")}

# -g0: a fifth of the size. Predictive commoning carries neighbouring loads over in registers, which
# spills the accumulators (145 instead of 220 GFLOP/s). Loop patterns become calls of memcpy, which
# for the short rows of small images cost more than the loops. The two -fno-…-math flags keep NaN
# and infinity exact; they only say that nobody reads errno or the floating-point exception flags,
# without which comparisons do not vectorise.
KERNEL_FLAGS = ["-O3", "-g0", "-fno-math-errno", "-fno-trapping-math"]
GCC_FLAGS = ["-fno-predictive-commoning", "-fno-tree-loop-distribute-patterns"]

# O1 and line numbers, for a report that names the line; an error ends the process.
SANITIZE_FLAGS = [
    "-O1",
    "-g1",
    "-fno-omit-frame-pointer",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
]

OPENMP_PROGRAM = "#include <omp.h>\nint main(void) { return omp_get_max_threads() == 0; }\n"
VECTOR_PROGRAM = (
    "typedef float v __attribute__((vector_size(16)));\n"
    "int main(void) { v a = {0}; a += 1.0f * a; return a[0] != 0; }\n"
)


def build_mode() -> str:
    mode = os.environ.get("FASTSCRATCH_BUILD", "") or "auto"
    if mode not in ("auto", "require", "skip"):
        raise SystemExit(f"FASTSCRATCH_BUILD={mode!r}: expected auto, require or skip")
    return mode


def wanted(variable: str) -> bool:
    value = os.environ.get(variable, "") or "0"
    if value not in ("0", "1"):
        raise SystemExit(f"{variable}={value!r}: expected 0 or 1")
    return value == "1"


def levels_of_this_processor() -> dict[str, tuple[int, str]]:
    x86_64 = platform.machine().lower() in ("x86_64", "amd64")
    levels = X86_LEVELS if x86_64 else PORTABLE_LEVELS
    width = os.environ.get("FASTSCRATCH_VECTOR_BYTES", "")
    if not width:
        return levels
    if width not in ("16", "32", "64"):
        raise SystemExit(f"FASTSCRATCH_VECTOR_BYTES={width!r}: expected 16, 32 or 64")
    return {level: (int(width), flags) for level, (_, flags) in levels.items()}


def digest_of_sources() -> str:
    """Tells kernels of one version from those of another, whoever compiled them."""
    state = hashlib.sha256()
    for path in sorted(SOURCES.glob("*.[hp]*")):
        state.update(path.name.encode() + path.read_bytes())
    return state.hexdigest()[:16]


def kernel_extensions() -> list[Extension]:
    """One extension per module and level, named by the folder that its file goes into."""
    names = [PROCESSOR_MODULE]
    for level in levels_of_this_processor():
        names += [f"{level}.{module}" for module in KERNEL_MODULES]
    return [
        Extension(f"{PACKAGE}.{name}", [str(SOURCES / f"{name.rpartition('.')[2]}.pyx")])
        for name in names
    ]


class BuildKernels(build_ext):
    """build_ext that compiles each C file once per level, keeps what is unchanged, and may fail."""

    def finalize_options(self) -> None:
        super().finalize_options()
        # Editable installs get a temporary folder each time, and would compile everything again.
        folder = f"kernels-{sys.implementation.cache_tag}-{platform.machine()}"
        self.build_temp = str(Path("build") / folder)

    def run(self) -> None:
        mode = build_mode()
        self.info: dict[str, object] = {
            "built": False,
            "reason": "",
            "checks": wanted("FASTSCRATCH_CHECKS"),
            "sanitized": wanted("FASTSCRATCH_SANITIZE"),
        }
        if mode == "skip":
            self.give_up("the package was installed with FASTSCRATCH_BUILD=skip")
        else:
            for folder in self.package_folders():
                for level in levels_of_this_processor():
                    (folder / level).mkdir(parents=True, exist_ok=True)
            try:
                super().run()
            except (Exception, SystemExit) as error:
                # Anything may go wrong with a compiler; only `require` lets it end the install.
                if mode == "require":
                    raise
                self.give_up(f"{type(error).__name__}: {error}".strip())
        self.write_info()

    def give_up(self, reason: str) -> None:
        self.warn(f"compiled kernels are left out: {reason}")
        self.info.update(built=False, reason=reason)
        for folder in self.package_folders():
            for path in folder.glob(f"{PROCESSOR_MODULE}.*"):
                path.unlink()
            for level in X86_LEVELS:
                shutil.rmtree(folder / level, ignore_errors=True)
        self.extensions = []

    def package_folders(self) -> list[Path]:
        """Where this command's results end: the build folder, the source tree, or both."""
        parts = PACKAGE.split(".")
        folders = [] if self.inplace and not self.editable_mode else [Path(self.build_lib, *parts)]
        if self.inplace or self.editable_mode:
            folders.append(Path(*parts))
        return folders

    def write_info(self) -> None:
        for folder in self.package_folders():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / BUILD_INFO).write_text(json.dumps(self.info, indent=2) + "\n")

    def get_outputs(self) -> list[str]:
        info = Path(self.build_lib, *PACKAGE.split("."), BUILD_INFO)
        return [*super().get_outputs(), str(info)]

    def build_extensions(self) -> None:
        import Cython
        import numpy

        if self.compiler.compiler_type != "unix":
            raise RuntimeError("the kernels need GCC or Clang: they are written with vector types")
        self.try_program(VECTOR_PROGRAM, [], "the C compiler does not work")
        version = subprocess.run(
            [self.compiler.compiler_so[0], "--version"], capture_output=True, text=True, check=True
        ).stdout
        flags = list(KERNEL_FLAGS)
        if "Free Software Foundation" in version:
            flags += GCC_FLAGS
        if self.info["sanitized"]:
            flags += SANITIZE_FLAGS
        openmp: list[str] = []
        # macOS compilers come without OpenMP, and two copies of its runtime in one process crash.
        if sys.platform != "darwin" and self.works(OPENMP_PROGRAM, ["-fopenmp"]):
            openmp = ["-fopenmp"]
        levels = levels_of_this_processor()
        self.info.update(
            compiler=version.splitlines()[0],
            flags={level: " ".join([*flags, own]) for level, (_, own) in levels.items()},
            levels=list(levels),
            openmp=bool(openmp),
            cython=Cython.__version__,
            numpy=numpy.__version__,
            python=platform.python_version(),
            sources=digest_of_sources(),
        )
        c_files = self.make_c_files()
        for extension in self.extensions:
            module = extension.name.rpartition(".")[2]
            level = extension.name.removeprefix(PACKAGE + ".").rpartition(".")[0] or "base"
            vector_bytes, level_flags = levels[level]
            # A C file of its own for each level: the path of the object follows from it.
            own_copy = c_files[module].with_name(f"{level}-{module}.c")
            shutil.copyfile(c_files[module], own_copy)
            extension.sources = [str(own_copy)]
            extension.include_dirs = [str(SOURCES), numpy.get_include()]
            extension.define_macros = [
                ("FASTSCRATCH_VECTOR_BYTES", str(vector_bytes)),
                ("NPY_NO_DEPRECATED_API", "NPY_2_0_API_VERSION"),
            ]
            if self.info["checks"]:
                extension.define_macros.append(("FASTSCRATCH_CHECKS", "1"))
            extension.extra_compile_args = [*flags, *level_flags.split(), *openmp]
            extension.extra_link_args = list(openmp)
            if self.info["sanitized"]:
                extension.extra_link_args += SANITIZE_FLAGS
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(self.build_extension, self.extensions))
        self.info["built"] = True

    def make_c_files(self) -> dict[str, Path]:
        """Run Cython: one C file for each module, whatever the number of levels."""
        from Cython.Build import cythonize

        checks = bool(self.info["checks"])
        folder = Path(self.build_temp) / ("c-checked" if checks else "c")
        extensions = [
            Extension(f"{PACKAGE}.{module}", [str(SOURCES / f"{module}.pyx")])
            for module in (PROCESSOR_MODULE, *KERNEL_MODULES)
        ]
        directives = {
            "language_level": 3,
            "binding": True,
            "embedsignature": False,
            "cdivision": True,
            "boundscheck": checks,
            "wraparound": False,
            "initializedcheck": checks,
            "nonecheck": checks,
        }
        made = cythonize(
            extensions,
            build_dir=str(folder),
            include_path=[str(SOURCES)],
            compiler_directives=directives,
            force=True,  # 2 s; its own check misses changed directives and versions
            quiet=True,
        )
        return {extension.name.rpartition(".")[2]: Path(extension.sources[0]) for extension in made}

    def build_extension(self, extension: Extension) -> None:
        """Compile, or take the file that was made of the same sources with the same flags."""
        digest = self.digest(extension)
        kept = Path(self.build_temp) / "built" / f"{extension.name}-{digest}"
        target = Path(self.get_ext_fullpath(extension.name))
        if not kept.exists():
            self.force = True
            super().build_extension(extension)
            kept.parent.mkdir(parents=True, exist_ok=True)
            for old in kept.parent.glob(f"{extension.name}-*"):
                old.unlink()
            shutil.copyfile(target, kept)
        target.parent.mkdir(parents=True, exist_ok=True)
        # A process may hold the old file: replace it, never write into it.
        target.unlink(missing_ok=True)
        shutil.copyfile(kept, target)

    def digest(self, extension: Extension) -> str:
        """Tells apart what would be compiled differently.

        NumPy's headers count by their version: pip's own build environments have another path each
        time.
        """
        state = hashlib.sha256()
        for path in [*extension.sources, *sorted(SOURCES.glob("*.h"))]:
            state.update(Path(path).read_bytes())
        settings = [
            self.compiler.compiler_so,
            self.compiler.linker_so,
            extension.define_macros,
            extension.extra_compile_args,
            self.info["compiler"],
            self.info["numpy"],
            sys.version,
        ]
        state.update(repr(settings).encode())
        return state.hexdigest()[:16]

    def try_program(self, program: str, flags: list[str], complaint: str) -> None:
        """Compile and link a program."""
        with tempfile.TemporaryDirectory() as folder:
            source, made = f"{folder}/program.c", f"{folder}/program"
            Path(source).write_text(program)
            compiler = self.compiler.compiler_so
            for command in (
                [*compiler, *flags, "-c", source, "-o", f"{made}.o"],
                [compiler[0], f"{made}.o", *flags, "-o", made],
            ):
                try:
                    subprocess.run(command, capture_output=True, text=True, check=True)
                except FileNotFoundError:
                    raise RuntimeError(f"there is no C compiler ({compiler[0]})") from None
                except subprocess.CalledProcessError as error:
                    raise RuntimeError(f"{complaint}: {error.stderr.strip()}") from None

    def works(self, program: str, flags: list[str]) -> bool:
        try:
            self.try_program(program, flags, "")
        except RuntimeError:
            return False
        return True


setup(ext_modules=kernel_extensions(), cmdclass={"build_ext": BuildKernels})
