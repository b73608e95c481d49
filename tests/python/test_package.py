"""What the installed package brings along."""

from pathlib import Path

import whimbrel as wb


def test_the_headers_are_those_of_the_source():
    installed = {path.name: path.read_bytes() for path in Path(wb.get_include(), "whimbrel").glob("*.hpp")}
    source = Path(__file__).parents[2] / "cpp" / "include" / "whimbrel"
    assert installed == {path.name: path.read_bytes() for path in source.glob("*.hpp")}


def test_cmake_finds_the_package_and_the_library_where_they_are_said_to_be():
    directory = Path(wb.get_cmake_dir())
    assert (directory / "whimbrelConfig.cmake").is_file()
    version = (directory / "whimbrelConfigVersion.cmake").read_text()
    assert f'set(PACKAGE_VERSION "{wb.__version__}")' in version
    libraries = {path.name for path in directory.parents[1].iterdir()}
    assert libraries & {"libwhimbrel.a", "whimbrel.lib"}
