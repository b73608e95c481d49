"""Rules about the source itself: who may include whom, what objects may contain, sizes, versions."""

import ast
import itertools
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import whimbrel as wb

ROOT = Path(__file__).parents[2]
CPP_SOURCES = sorted(
    path
    for folder in ("cpp", "cuda", "python/bindings", "tests/cpp")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".hpp", ".cpp", ".h", ".cuh", ".cu"}
)
PUBLIC_HEADERS = sorted((ROOT / "cpp/include").rglob("*.h*"))
PYTHON_MODULES = sorted((ROOT / "python/whimbrel").rglob("*.py"))

# A file of cpp/src includes only from its own folder and from lower floors.
FLOORS = [
    {"kernels"},
    {"base"},
    {"quantize"},
    {"exact", "lid", "hnsw", "fde", "lemur", "cur"},
    {"pipelines"},
    {"c_api"},
]
# Compiled for several instruction sets; a template or inline function of the standard library that is not
# inlined here might be chosen by the linker for every caller.
KERNEL_INCLUDES = {
    "cstddef",
    "cstdint",
    "immintrin.h",
    "arm_neon.h",
    "kernels/codes.hpp",
    "kernels/lanes.hpp",
    "kernels/kernel_table.hpp",
}

KERNEL_SOURCES = ("distance_kernels", "encoding_kernels")

needs_compiler = pytest.mark.skipif(
    shutil.which("c++") is None or shutil.which("nm") is None, reason="needs c++ and binutils"
)


def relative(path):
    return path.relative_to(ROOT).as_posix()


def code_lines(path):
    """Line numbers and lines without // comments."""
    for number, line in enumerate(path.read_text().splitlines(), 1):
        yield number, line.split("//")[0]


def includes(path):
    """Names in quotes, names in angle brackets."""
    found = {'"': [], "<": []}
    for _, line in code_lines(path):
        if match := re.match(r"""\s*#\s*include\s*(["<])([^">]+)""", line):
            found[match[1]].append(match[2])
    return found['"'], found["<"]


def floor_of(folder):
    for number, floor in enumerate(FLOORS):
        if folder in floor:
            return number
    pytest.fail(f"{folder}: expected a folder of a known floor")


def run(*command, **kwargs):
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, **kwargs)
    assert done.returncode == 0, f"{' '.join(map(str, command))}\n{done.stderr}"
    return done.stdout


def sources_under(folder):
    found = [path for path in CPP_SOURCES if relative(path).startswith(folder + "/")]
    assert found, folder
    return found


def test_private_files_include_only_downward():
    upward = []
    for path in sources_under("cpp/src"):
        own = path.relative_to(ROOT / "cpp/src").parts[0]
        for name in includes(path)[0]:
            folder = name.split("/")[0]
            if folder not in {"whimbrel", "whimbrel.h", own} and floor_of(folder) >= floor_of(own):
                upward.append(f"{relative(path)} includes {name}")
    assert not upward


def test_public_headers_need_the_standard_library_only():
    foreign = []
    for path in PUBLIC_HEADERS:
        quoted, angled = includes(path)
        foreign += [f"{relative(path)}: {name}" for name in quoted if not name.startswith("whimbrel/")]
        foreign += [
            f"{relative(path)}: {name}" for name in angled if not re.fullmatch(r"[a-z_]+(\.h)?", name)
        ]
    assert PUBLIC_HEADERS
    assert not foreign


def test_kernel_files_include_almost_nothing():
    for name in (
        *(f"{source}.cpp" for source in KERNEL_SOURCES),
        "codes.hpp",
        "lanes.hpp",
        "kernel_table.hpp",
    ):
        quoted, angled = includes(ROOT / "cpp/src/kernels" / name)
        assert {*quoted, *angled} <= KERNEL_INCLUDES


def test_cuda_sees_only_public_headers_and_itself():
    own = {path.name for path in sources_under("cuda/src")}
    for path in sources_under("cuda"):
        for name in includes(path)[0]:
            assert name.startswith("whimbrel/") or name in own, f"{relative(path)} includes {name}"


def test_the_core_does_not_know_cuda_python_or_the_bindings():
    for path in [*sources_under("cpp"), *sources_under("cuda")]:
        quoted, angled = includes(path)
        for name in [*quoted, *angled]:
            assert not name.startswith(("pybind11", "Python.h")), f"{relative(path)} includes {name}"
            if relative(path).startswith("cpp/"):
                assert "cuda" not in name, f"{relative(path)} includes {name}"
    for path in sources_under("python/bindings"):
        own = {other.name for other in path.parent.iterdir()}
        for name in includes(path)[0]:
            assert name.startswith("whimbrel/") or name in own, f"{relative(path)} includes {name}"


def test_the_library_neither_prints_nor_ends_the_process():
    pattern = re.compile(r"\b(cout|cerr|clog|f?printf|f?puts|abort|exit|terminate)\b\s*(\(|<<)")
    for path in [*sources_under("cpp"), *sources_under("cuda"), *sources_under("python/bindings")]:
        for number, line in code_lines(path):
            assert not pattern.search(line), f"{relative(path)}:{number}: {line.strip()}"


def test_only_the_dispatcher_reads_the_environment():
    readers = {
        relative(path)
        for path in [*sources_under("cpp"), *sources_under("cuda"), *sources_under("python/bindings")]
        for _, line in code_lines(path)
        if "getenv" in line
    }
    assert readers <= {"cpp/src/kernels/dispatch.cpp"}


def test_importing_the_package_needs_numpy_only():
    for path in PYTHON_MODULES:
        for node in ast.parse(path.read_text()).body:
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for name in names:
                top = name.split(".")[0]
                allowed = top in {"numpy", "whimbrel"} or top in sys.stdlib_module_names
                assert allowed, f"{relative(path)} imports {name}"


@pytest.mark.parametrize("path", PUBLIC_HEADERS, ids=lambda path: path.name)
@needs_compiler
def test_a_public_header_compiles_alone(path):
    name = path.relative_to(ROOT / "cpp/include").as_posix()
    flags = [
        "-std=c++20",
        "-fno-rtti",
        "-fsyntax-only",
        "-Wall",
        "-Wextra",
        "-Wconversion",
        "-Wshadow",
        "-Werror",
    ]
    twice = f'#include "{name}"\n' * 2
    run("c++", *flags, "-I", ROOT / "cpp/include", "-x", "c++", "-", input=twice)


def kernel_flags():
    """Compiler flags of each instruction set of this processor family, read from the build files."""
    common = re.search(r"whimbrel_flags\(flags (.*?) \$\{ARGN\}\)", read("cpp/cmake/kernels.cmake"))
    isas = re.findall(r"whimbrel_add_kernels\((\w+)(.*?)\)", read("cpp/CMakeLists.txt"))
    arm = platform.machine().lower() in {"aarch64", "arm64"}
    assert common
    return {isa: [*common[1].split(), *flags.split()] for isa, flags in isas if (isa == "neon") == arm}


def read(name):
    return (ROOT / name).read_text()


@pytest.fixture(scope="module", params=itertools.product(kernel_flags(), KERNEL_SOURCES), ids="-".join)
def kernel_object(request, tmp_path_factory):
    """One file of kernels, compiled for one instruction set as the build does it."""
    isa, name = request.param
    target = tmp_path_factory.mktemp("kernels") / f"{isa}-{name}.o"
    flags = [
        "-std=c++20",
        "-fPIC",
        "-fvisibility=hidden",
        "-ffp-contract=off",
        *kernel_flags()[isa],
    ]
    source = ROOT / f"cpp/src/kernels/{name}.cpp"
    define = f"-DWHIMBREL_KERNEL_ISA={isa}"
    run("c++", *flags, define, "-I", ROOT / "cpp/src", "-c", source, "-o", target)
    return target


@needs_compiler
def test_kernel_objects_define_one_table_and_share_nothing(kernel_object):
    symbols = [line.split()[-2:] for line in run("nm", kernel_object).splitlines()]
    shared = [
        name
        for kind, name in symbols
        if kind not in set("tTrRdDbB")
        and name != "_GLOBAL_OFFSET_TABLE_"
        and not (kind == "U" and name.endswith("9kEncodingE"))  # the table of the same instruction set
    ]
    assert not shared  # weak, or wanted from elsewhere
    defined = [name for kind, name in symbols if kind in set("TRDB")]
    assert len(defined) == 1
    assert re.search("kTable|kEncoding", defined[0])


@needs_compiler
@pytest.mark.skipif(shutil.which("objdump") is None, reason="needs objdump")
def test_kernel_objects_still_contain_their_prefetches(kernel_object):
    if "distance" not in kernel_object.name:
        pytest.skip("has no prefetches")
    code = run("objdump", "-d", "-C", "--no-show-raw-insn", kernel_object)
    functions = re.split(r"\n\n", code)
    for metric, row in itertools.product(("L2", "Ip"), ("float", ".*Half")):
        name = rf"fast_ids(_from)?<.*::{metric}, {row}>.*>:"
        bodies = [f for f in functions if re.search(name, f.split(":\n")[0] + ":")]
        batch = "".join(bodies)
        assert len(re.findall(r"\tprefetcht0|\tprfm", batch)) >= 3


@pytest.mark.parametrize("path", CPP_SOURCES + PYTHON_MODULES, ids=relative)
def test_files_are_short(path):
    limit = 200 if path.suffix == ".py" else 500
    n_lines = len(path.read_text().splitlines())
    assert n_lines <= limit, f"{relative(path)}: expected at most {limit} lines, got {n_lines}"


@pytest.mark.parametrize(
    ("build_file", "folder"),
    [
        ("cpp/CMakeLists.txt", "cpp/src"),
        ("cuda/CMakeLists.txt", "cuda/src"),
        ("python/CMakeLists.txt", "python/bindings"),
        ("tests/cpp/CMakeLists.txt", "tests/cpp"),
    ],
)
def test_every_source_is_built(build_file, folder):
    text = read(build_file) + read("cpp/cmake/kernels.cmake")
    for path in sources_under(folder):
        if path.suffix in {".cpp", ".cu"}:
            assert path.relative_to(ROOT / folder).as_posix() in text, (
                f"{relative(path)} is not in {build_file}"
            )


def test_versions_agree():
    (version,) = re.findall(r'^version = "(.*)"$', read("pyproject.toml"), re.MULTILINE)
    assert wb.__version__ == version
