"""A bundle's author may call things what they like: the names are shown, and never become code, in no target."""

import ast
import functools
import html
import json
import re
import subprocess

import hostile_names
import hosts
import pytest
import yaml
from hostile_names import MARK, NAMES, TITLE
from markdown_it import MarkdownIt

from aetool.bundle import escape
from aetool.bundle.bundle import Bundle
from aetool.bundle.card import model_card
from aetool.bundle.golden import read_golden
from aetool.deploy.c import c, symbol
from aetool.deploy.mobile import mobile
from aetool.deploy.node import node
from aetool.deploy.triton import triton
from aetool.deploy.web import web, web_page

COMPILERS = ("gcc", "clang")


@pytest.fixture(scope="module")
def bundle(cancer_bundle, tmp_path_factory):
    path = hostile_names.make(cancer_bundle.path, tmp_path_factory.mktemp("hostile") / "bundle")
    return Bundle.open_whole(path)


@pytest.fixture(scope="module")
def made(bundle):
    """made(target): what it makes of the bundle, once."""
    return functools.cache(lambda target: target(bundle))


@pytest.fixture(scope="module")
def in_c(made, write, need):
    need("generated C")
    return write(made(c))


def output(*command, cwd, **options):
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("compiler", COMPILERS)
@pytest.mark.parametrize("standard", ["c99", "gnu17"])
def test_the_generated_c_builds_and_computes_and_nothing_else(in_c, bundle, need, compiler, standard):
    need("clang" if compiler == "clang" else "generated C")
    strict = ("-Wall", "-Wextra", "-Werror", "-pedantic", f"-std={standard}")
    sources = sorted(path.name for path in in_c.glob("aetool_*.c"))
    output(compiler, *strict, "-o", "check", "check.c", *sources, "-lm", cwd=in_c)
    told = output("./check", cwd=in_c)
    assert told.startswith(symbol(bundle)) and told.endswith("passed\n") and MARK not in told
    output(compiler, *strict, "-o", "main", "main.c", *sources, "-lm", cwd=in_c)
    row = ",".join(map(str, read_golden(bundle)["features"][0].tolist()))
    assert len(output("./main", cwd=in_c, input=f"{row}\n").split()) == 2


def test_nothing_of_the_graph_but_numbers_gets_into_the_generated_c(in_c):
    core = set(in_c.glob("aetool_*_core.c"))  # which is the same for every bundle
    for path in set(in_c.glob("aetool_*.c")) - core:
        text = path.read_text(encoding="utf-8")
        code = re.sub(r'/\*.*?\*/|"(?:[^"\\]|\\.)*"', "", text, flags=re.DOTALL)  # names are in a list of literals
        assert text.isascii() and "/*" not in code and "*/" not in code
        assert MARK not in code and "__attribute__" not in code and "#error" in code and code.count("#error") == 1


def test_the_names_of_features_come_out_of_the_c_as_they_are(in_c, bundle):
    (in_c / "names.c").write_text(
        f'#include <stdio.h>\n#include "{symbol(bundle)}.h"\n'
        "int main(void) {\n    for (int i = 0; i < 30; ++i) {\n"
        f"        fputs({symbol(bundle)}_feature_names[i], stdout);\n        putchar(0);\n    }}\n}}\n",
        encoding="utf-8",
    )
    sources = ("names.c", *hosts.c_sources(in_c))
    output("gcc", "-std=c99", "-Wall", "-Werror", "-o", "names", *sources, "-lm", cwd=in_c)
    found = subprocess.run(["./names"], cwd=in_c, capture_output=True, check=True).stdout.decode("utf-8")
    assert tuple(found.split("\0")[:-1]) == bundle.manifest.feature_names


def test_cmake_builds_it_and_runs_no_name(in_c, need, tmp_path):
    need("CMake")
    told = output("cmake", "-S", str(in_c), "-B", str(tmp_path / "build"), cwd=tmp_path)
    told += output("cmake", "--build", str(tmp_path / "build"), cwd=tmp_path)
    told += output("ctest", "--test-dir", str(tmp_path / "build"), cwd=tmp_path)
    assert MARK not in told
    assert not list(tmp_path.rglob("evil.txt")) and not list(in_c.rglob("evil.txt"))


def test_node_runs_it_and_shows_the_names(bundle, made, write, need):
    need("Node")
    folder = write(made(node))
    (folder / "node_modules").symlink_to(hosts.NODE_MODULES)
    assert "passed" in output("npm", "test", cwd=folder)
    (folder / "names.mjs").write_text(
        'import { load } from "./aetool.mjs";\nconst { name, features } = await load();\n'
        "console.log(JSON.stringify([name, ...features.map((feature) => feature.name)]));\n",
        encoding="utf-8",
    )
    assert json.loads(hosts.run("node", "names.mjs", cwd=folder)) == [TITLE, *bundle.manifest.feature_names]
    found = html_of((folder / "README.md").read_text(encoding="utf-8"))
    assert found.count("<h1>") == 1 and not re.search("<(img|script|a)", found)


@pytest.mark.parametrize("form", ["directory", "single file"])
def test_the_page_runs_no_name_and_shows_it_as_text(bundle, write, need, form):
    need("Chromium")
    runtime = hosts.NODE_MODULES / "onnxruntime-web"
    folder = write(web(bundle, runtime) if form == "directory" else web_page(bundle))  # the latter on the core
    with hosts.browser() as chromium, hosts.served(folder) as url:
        page = chromium.new_page()
        wrong, asked = [], []
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(url if form == "directory" else (folder / "index.html").as_uri())
        page.wait_for_selector("#check-mark.good")
        assert wrong == [] and not any(MARK in address for address in asked)
        assert page.title().split() == escape.visible(TITLE).split()  # a title's spaces are one
        assert page.text_content("h1") == escape.visible(TITLE)
        labels = page.locator("#feature-rows label").all_text_contents()
        names = [f"{feature.name} ({feature.unit})" for feature in bundle.manifest.features]
        assert labels == names
        assert page.locator("main img, main script, header img, header script").count() == 0
        assert page.text_content("#bundle") == bundle.manifest.id[:12]


def test_tritons_configuration_is_one_of_plain_names(made, write, need):
    need("Triton")
    folder = write(made(triton))
    parse = """
import json, sys
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
print(json.dumps([text_format.Parse(open(path).read(), ModelConfig()).name for path in sys.argv[1:]]))
"""
    paths = sorted(folder.glob("*/config.pbtxt"))
    found = json.loads(output(hosts.TRITON_PYTHON, "-c", parse, *map(str, paths), cwd=folder))
    assert found == [path.parent.name for path in paths] and len(found) == 5
    assert all(re.fullmatch(r"[a-z0-9_]+", name) for name in found)


def test_ort_files_run_and_what_lies_beside_them_holds_no_name(made):
    for path, content in made(mobile).files.items():  # which ran the golden rows
        if not path.endswith((".ort", ".npz", "manifest.json")):
            assert MARK.encode() not in content, path


@pytest.mark.parametrize("target", [c, node, triton, mobile])
def test_paths_are_plain(made, target):
    for path in made(target).files:
        assert re.fullmatch(r"[A-Za-z0-9_./-]+", path) and ".." not in path and len(path) < 100


def html_of(text):
    return MarkdownIt("commonmark", {"html": True}).enable("table").render(text)


def tags(text):
    """The tags of a page, without their attributes."""
    return re.findall(r"</?\w+", text)


@pytest.mark.parametrize("name", NAMES)
def test_the_model_card_has_a_yaml_header_and_no_markup_of_a_name(bundle, name):
    features = (bundle.manifest.features[0]._replace(name=name, categories=(name, "b")),)
    manifest = bundle.manifest._replace(name=name, features=features, tools={"aetool": "1"})
    card = model_card(manifest)
    _, header, body = card.split("---\n", 2)
    assert yaml.safe_load(header)["model_name"] == name
    found = html_of(body)
    plain = manifest._replace(name="a", features=(features[0]._replace(name="a", categories=("a", "b")),))
    assert tags(found) == tags(html_of(model_card(plain).split("---\n", 2)[2]))


C_PROGRAM = "#include <stdio.h>\nint main(void) {{\n{lines}\n    return 0;\n}}\n"


@pytest.mark.parametrize("compiler", COMPILERS)
def test_a_literal_of_c_holds_the_text_and_a_comment_ends_where_it_should(tmp_path, need, compiler):
    need("clang" if compiler == "clang" else "generated C")
    lines = [
        f"    fputs({escape.c_string(name)}, stdout); /* {escape.c_comment(name)} */ putchar(0);" for name in NAMES
    ]
    lines += [f"    /*{escape.c_comment(name)}\n     * {escape.c_comment(name)}*/" for name in NAMES]
    (tmp_path / "names.c").write_text(C_PROGRAM.format(lines="\n".join(lines)), encoding="ascii")
    strict = ("-std=c99", "-Wall", "-Wextra", "-Werror", "-pedantic")
    output(compiler, *strict, "-o", "names", "names.c", cwd=tmp_path)
    found = subprocess.run(["./names"], cwd=tmp_path, capture_output=True, check=True).stdout
    assert tuple(found.decode("utf-8").split("\0")[:-1]) == NAMES


def test_an_argument_of_cmake_is_one_and_shows_the_text(tmp_path, need):
    need("CMake")
    lines = ["function(count)", '  message("${ARGC} ${ARGV0}|")', "endfunction()"]
    for name in NAMES:
        lines += [f"count({escape.cmake(name)})", f"set(text {escape.cmake(name)})", "list(LENGTH text length)"]
        lines += ["if(length GREATER 1)", '  message(FATAL_ERROR "a list")', "endif()"]
    (tmp_path / "names.cmake").write_text("\n".join(lines) + "\n", encoding="utf-8")
    found = output("cmake", "-P", "names.cmake", cwd=tmp_path)
    shown = [escape.visible(name).replace(";", "<U+003B>") for name in NAMES]
    assert found == "".join(f"1 {text}|\n" for text in shown)


def test_a_literal_of_javascript_is_the_text_and_ends_no_script(need):
    need("Node")
    literals = [escape.javascript(name) for name in NAMES]
    assert not re.search(r"[<>&`$\u2028\u2029]", "".join(literals))
    program = f"process.stdout.write(JSON.stringify([{', '.join(literals)}]))"
    assert tuple(json.loads(output("node", "-e", program, cwd="."))) == NAMES
    assert tuple(map(json.loads, literals)) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_other_literals_hold_the_text(name):
    assert yaml.safe_load(f"key: {escape.yaml(name)}\nother: 1") == {"key": name, "other": 1}
    assert ast.literal_eval(escape.python(name)) == name
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", escape.yaml(name) + escape.python(name))


def test_text_of_protobuf_holds_the_text(need, tmp_path):
    need("Triton")
    text = "".join(f"parameters {{ key: {escape.protobuf_text(name)} }}\n" for name in NAMES)
    (tmp_path / "names.pbtxt").write_text(text, encoding="ascii")
    parse = """
import json
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig
print(json.dumps(sorted(text_format.Parse(open("names.pbtxt").read(), ModelConfig()).parameters)))
"""
    found = json.loads(output(hosts.TRITON_PYTHON, "-c", parse, cwd=tmp_path))
    assert found == sorted(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", ["# {}\n", "a {} b\n", "| {} | y |\n| --- | --- |\n| {} | z |\n"])
def test_markdown_shows_the_text_and_nothing_else(name, form):
    for function in (escape.markdown, escape.markdown_code):
        found = html_of(form.format(function(name), function(name)))
        expected = html_of(form.format(*(["`x`" if function is escape.markdown_code else "x"] * 2)))
        assert tags(found) == tags(expected)
        text = " ".join(html.unescape(re.sub(r"<[^>]*>", "", found)).split())
        shown = escape.visible(name)
        if function is escape.markdown_code:
            shown = re.sub(r"\{(?=[{%#])", "{ ", shown.replace("`", "'"))
            shown = shown if form.startswith("|") else shown.replace("|", r"\|")  # a bar is escaped for cells
        assert " ".join(shown.split()) in text


@pytest.mark.parametrize("name", NAMES)
def test_what_does_not_show_is_spelled_out(name):
    for shown in (escape.visible(name), escape.c_comment(name), escape.cmake(name), escape.markdown(name)):
        assert shown.isprintable()
