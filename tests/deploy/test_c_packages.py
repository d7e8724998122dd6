"""The C as a component of ESP-IDF, a module of Zephyr and a library of Arduino, and its constants."""

import re
import subprocess

import hosts
import pytest

from aetool.bundle.golden import read_golden
from aetool.deploy.c import c

# What the build systems define before they read the CMakeLists.txt of a component.
ESP_IDF = """set(ESP_PLATFORM 1)
function(idf_component_register)
  message("registered ${ARGN}")
endfunction()
include(CMakeLists.txt)
"""
ZEPHYR = """function(zephyr_library)
endfunction()
function(zephyr_library_sources)
  message("registered ${ARGN}")
endfunction()
function(zephyr_include_directories)
endfunction()
include(CMakeLists.txt)
"""


@pytest.fixture(scope="module")
def folder(cancer_bundle, write):
    return write(c(cancer_bundle))


@pytest.mark.parametrize("script", [ESP_IDF, ZEPHYR], ids=["ESP-IDF", "Zephyr"])
def test_a_build_system_of_microcontrollers_gets_every_file_but_the_programs(folder, need, tmp_path, script):
    need("CMake")
    (tmp_path / "build.cmake").write_text(script, encoding="utf-8")
    done = subprocess.run(
        ["cmake", "-P", tmp_path / "build.cmake"], cwd=folder, capture_output=True, text=True, check=False
    )
    (registered,) = re.findall(r"registered (.*)", done.stderr)
    assert done.returncode == 0 and set(re.findall(r"\w+\.c\b", registered)) == set(hosts.c_sources(folder))


def test_zephyr_and_arduino_find_what_names_the_package(folder):
    module = (folder / "zephyr" / "module.yml").read_text(encoding="utf-8")
    assert module == "name: aetool_breast_cancer\nbuild:\n  cmake: .\n"
    pairs = (line.split("=", 1) for line in (folder / "library.properties").read_text("utf-8").splitlines())
    assert dict(pairs).keys() >= {
        "name",
        "version",
        "author",
        "maintainer",
        "sentence",
        "category",
        "architectures",
    }


def test_arduino_compiles_every_file_beside_a_sketch(folder, need, tmp_path):
    need("generated C")
    (tmp_path / "sketch.c").write_text(
        '#include <stdio.h>\n#include "aetool_breast_cancer.h"\n'
        "int main(void) {\n    static float row[30];\n"
        '    for (int i = 0; i < 30; ++i) if (scanf("%f", row + i) != 1) return 1;\n'
        '    printf("%.9g %s %s.", (double)aetool_breast_cancer_score(row),\n'
        "           aetool_breast_cancer_feature_names[29], aetool_breast_cancer_feature_units[29]);\n"
        '    printf("%d%d", aetool_breast_cancer_exceeds(row, 0), aetool_breast_cancer_exceeds(row, 1e9f));\n'
        "    row[0] = 0.0f;\n    row[0] = row[0] / row[0];\n"
        '    printf("%d", aetool_breast_cancer_exceeds(row, 1e9f));\n'
        "    return 0;\n}\n",
        encoding="utf-8",
    )
    every = sorted(str(path) for path in folder.glob("*.c"))
    options = ["-DARDUINO", f"-I{folder}", "-O1", "-o", "sketch"]
    hosts.run("gcc", *options, "sketch.c", *every, "-lm", cwd=tmp_path)
    golden = read_golden(hosts.Bundle.open(hosts.ROOT / "exported" / "breast-cancer"))
    row = " ".join(map(str, golden["features"][0].tolist()))
    done = subprocess.run([tmp_path / "sketch"], input=row, capture_output=True, text=True, check=True)
    score, rest = done.stdout.split(" ", 1)
    assert float(score) == pytest.approx(golden["score"][0], rel=1e-4)
    assert rest == "worst fractal dimension .101"  # above 0, not above 1e9, and NaN above everything
