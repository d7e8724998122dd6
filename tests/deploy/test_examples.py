"""examples/: the programs in Python answer alike, and what examples/README.md names is there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples"
# As much of onnxruntime's C++ API as score.cpp uses, which no package brings: rows of 3, their sum is the score.
ORT_STUB = """
#pragma once
#include <cstddef>
#include <cstdint>
#include <exception>
#include <vector>
enum { ORT_LOGGING_LEVEL_WARNING, OrtArenaAllocator, OrtMemTypeDefault };
namespace Ort {
struct Exception : std::exception {};
struct Env { Env(int, const char*) {} };
struct RunOptions { explicit RunOptions(std::nullptr_t) {} };
struct MemoryInfo { static MemoryInfo CreateCpu(int, int) { return {}; } };
struct SessionOptions {
    void SetIntraOpNumThreads(int) {}
    void AddConfigEntry(const char*, const char*) {}
};
struct Value {
    std::vector<float> values;
    bool flag = false;
    template <class T>
    static Value CreateTensor(MemoryInfo&, T* data, std::size_t n, const std::int64_t*, std::size_t) {
        return {std::vector<float>(data, data + n)};
    }
    template <class T> const T* GetTensorData() const;
};
template <> const float* Value::GetTensorData<float>() const { return values.data(); }
template <> const bool* Value::GetTensorData<bool>() const { return &flag; }
struct Info {
    Info GetTensorTypeAndShapeInfo() { return {}; }
    std::vector<std::int64_t> GetShape() { return {-1, 3}; }
};
struct Session {
    Session(Env&, const char*, SessionOptions&) {}
    Info GetInputTypeInfo(int) { return {}; }
    std::vector<Value> Run(const RunOptions&, const char**, Value* row, int, const char**, int) {
        const float score = row->values[0] + row->values[1] + row->values[2];
        return {{{score}}, {{}, !(score <= 10)}};
    }
};
}
"""


def answers(program, without):
    """Lines of the example, run where the modules `without` are not installed."""
    start = f"import sys, runpy; sys.modules |= dict.fromkeys({without!r}); sys.argv = sys.argv[1:]; "
    command = [sys.executable, "-c", start + "runpy.run_path(sys.argv[0], run_name='__main__')"]
    done = subprocess.run(
        [*command, EXAMPLES / "embed_python" / program, ROOT / "exported" / "samples.csv"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout.splitlines()


def test_with_aetool_and_without_it_the_answers_are_the_same():
    ours = answers("with_aetool.py", ("torch", "onnx", "pyarrow"))
    bare = answers("with_onnxruntime.py", ("aetool", "torch", "onnx"))
    assert len(ours) == 100 and [line.split()[2] for line in ours] == [line.split()[2] for line in bare]
    assert {line.split()[2] for line in ours} == {"normal", "anomaly"}


@pytest.fixture(scope="module")
def score(tmp_path_factory, need):
    need("C++")
    folder = tmp_path_factory.mktemp("cpp")
    (folder / "onnxruntime_cxx_api.h").write_text(ORT_STUB, encoding="utf-8")
    strict = ("-std=c++17", "-Wall", "-Wextra", "-Werror", "-I", str(folder))
    command = ["g++", *strict, "-o", str(folder / "score"), str(EXAMPLES / "cpp" / "score.cpp")]
    subprocess.run(command, check=True)
    return folder / "score"


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("1,2", "line 2: 3 numbers expected, found 2"),
        ("1,2,3,4", "line 2: 3 numbers expected, found 4"),
        ("1,2,", "line 2: only numbers expected"),
        ("1,,2", "line 2: only numbers expected"),
        ("1,2,x", "line 2: only numbers expected"),
        ("1,2,3a", "line 2: only numbers expected"),
    ],
)
def test_score_cpp_names_a_line_that_is_no_row_and_reads_no_further(score, second, message):
    text = f"1,2,3\n{second}\n4,5,6\n"
    done = subprocess.run([score, "x.onnx"], input=text, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (1, "6 0\n", message + "\n")


def test_score_cpp_reads_lines_as_people_write_them(score):
    text = "1, 2,3\r\n\n 4 5\t6 \nnan,1,1"
    done = subprocess.run([score, "x.onnx"], input=text, capture_output=True, text=True, check=True)
    assert done.stdout == "6 0\n15 1\nnan 1\n"


def test_what_the_readme_names_is_there():
    text = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([\w_]+)\)", text):
        assert (EXAMPLES / target).is_dir()
    for path in re.findall(r"\bexamples/[\w/.]+\w", text):
        if "/site" not in path and "/detector" not in path:
            assert (ROOT / path).exists(), path
