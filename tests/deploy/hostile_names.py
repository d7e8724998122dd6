"""Names that break out of comments, literals, tags and templates, and a bundle where everything is called so."""

import json
import shutil

import onnx

from aetool.bundle.files import sha256

MARK = "EVIL-WAS-HERE"
"""What code among the names would leave behind: in a file's output, a page's title, a target's list."""
NAMES = (
    '*/ " \\ ??/ </script> \u202e',
    "*/ extern int puts(const char *); __attribute__((constructor)) static void evil(void) "
    f'{{ puts("{MARK}"); }} /*',
    f'");alert("{MARK}")//',
    "${x}",
    '"; DROP',
    "two\nlines",
    f"\n#error {MARK}\n",
    f"\r\nmessage(FATAL_ERROR {MARK})\r",
    "$ENV{PATH};${CMAKE_COMMAND};@CMAKE_COMMAND@;$<TARGET_FILE:all>",
    f'" )\nfile(WRITE evil.txt {MARK})\n#',
    "{{title}} {{name}} {% raw %} {# #}",
    f"<!-- <script>document.title = '{MARK}'</script>",
    f"<img src=x onerror=\"document.title='{MARK}'\">",
    f"</title></script><script>document.title='{MARK}'</script>",
    f"[x](javascript:alert('{MARK}')) ![](http://127.0.0.1:9/{MARK}) `code` | cell |",
    "]]> &amp; &#x202e; %s%n%d \\u0022 \\x22 \\0 \\",
    "a: b # c",
    f"---\nevil: {MARK}\n---\n# heading",
    "!!python/object/apply:os.system ['false'] &anchor *alias",
    "\u2028\u2029\x85\x0b\x0c\x1b[31m\x07\x7f",
    "\u202eesrever\u202c \u2066\u2069 \u200b\ufeff",
    "ends in a backslash\\",
    "trigraphs ??/ ??' ??( ??= ??! ??< ??>",
    "// /* // */ /**/ *//*",
    "größe °C 温度 🙂",
    "\"\"\" ''' # `",
    "=cmd|' /C calc'!A1",
    " " * 3,
    "x" * 500,
)
TITLE = "".join(NAMES[:4]) + NAMES[13]
"""The bundle's own name."""


def make(source, path, title=TITLE):
    """A copy of the bundle at `source` in which names, units, ids, descriptions and names of files are hostile."""
    shutil.copytree(source, path)
    manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
    manifest["name"], manifest["id"] = title, NAMES[0]
    for i, feature in enumerate(manifest["features"]):
        feature["name"] = f"{NAMES[i]}" if i < len(NAMES) else f"feature {i}"
        feature["unit"] = NAMES[-1 - i % len(NAMES)]
    manifest["tools"] = dict.fromkeys(manifest["tools"], NAMES[1])
    for graph, name in list(manifest["variants"]["fp32"]["files"].items()):
        content = hostile(onnx.load(path / name)).SerializeToString()
        (path / name).unlink()
        odd = f"{graph} $(x) '\"<img> {{{{name}}}};.onnx"
        (path / odd).write_bytes(content)
        del manifest["files"][name]
        manifest["files"][odd] = {"sha256": sha256(content), "size": len(content)}
        manifest["variants"]["fp32"]["files"][graph] = odd
    manifest["variants"]["fp32"].pop("inner_values", None)
    (path / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    return path


def hostile(model):
    """The same graph with other names for all but its ports, and texts wherever there is room for one."""
    ports = {value.name for value in (*model.graph.input, *model.graph.output)}
    names = {}

    def renamed(name):
        return (
            name if name in ports or not name else names.setdefault(name, f"{NAMES[len(names) % 27]} {len(names)}")
        )

    model.doc_string = model.producer_name = model.producer_version = model.domain = NAMES[1]
    model.graph.doc_string = model.graph.name = NAMES[1]
    for entry in model.metadata_props:
        entry.value = NAMES[1]
    model.metadata_props.add(key=NAMES[1], value=NAMES[1])
    for weight in model.graph.initializer:
        weight.name, weight.doc_string = renamed(weight.name), NAMES[1]
    for i, node in enumerate(model.graph.node):
        node.name, node.doc_string = f"{NAMES[i % 27]} {i}", NAMES[1]
        inputs, outputs = [*map(renamed, node.input)], [*map(renamed, node.output)]
        del node.input[:], node.output[:]
        node.input.extend(inputs)
        node.output.extend(outputs)
        for attribute in node.attribute:
            attribute.doc_string = NAMES[1]
            if attribute.HasField("t"):
                attribute.t.name = attribute.t.doc_string = NAMES[1]
    del model.graph.value_info[:]
    for value in (*model.graph.input, *model.graph.output):
        value.doc_string = NAMES[1]
        if value.type.tensor_type.shape.dim:
            value.type.tensor_type.shape.dim[0].dim_param = NAMES[1]
    return model
