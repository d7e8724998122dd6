"""The C that emx-onnx-cgen writes, made to fit a microcontroller.

The generator gives every intermediate value memory of its own, declares constants with external linkage, and
passes arrays in a way that ISO C99 does not allow without a cast. What is computed stays as it was written: one
function per node, called in order by one function per graph.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod

from aetool.errors import ExportError

BYTES = {"float": 4, "bool": 1, "int64_t": 8, "int32_t": 4, "uint8_t": 1, "int8_t": 1, "double": 8}
_ARRAY = re.compile(r"(const )?(\w+) (\w+)((?:\[[^\]]+\])+)")
_CALL = re.compile(r"    (\w+)\((.*)\);")
_LOCAL = re.compile(r"    (\w+) (\w+)((?:\[\d+\])+);")
_DEFINITION = re.compile(r"static (?:const |inline )?\w+ (\w+)(?:\(.*\) {$|(?:\[\d+\])+ = {)")
_CONSTANT = re.compile(r"static const (\w+) (\w+)((?:\[\d+\])+) = {")
_WORD = re.compile(r"\b[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Array:
    """An array of the program."""

    type: str
    sizes: tuple[int, ...]
    constant: bool = False

    @property
    def elements(self) -> int:
        """Return the number of elements."""
        return prod(self.sizes)

    def pointer(self) -> str:
        """Return the type of a pointer to its first row, as a parameter has it."""
        inner = "".join(f"[{size}]" for size in self.sizes[1:])
        qualifier = "const " if self.constant else ""
        return f"({qualifier}{self.type} (*){inner})" if inner else f"({qualifier}{self.type} *)"


@dataclass(frozen=True, slots=True)
class CSource:
    """One graph in C."""

    code: str
    parameters: Mapping[str, Array]
    """Parameters of the graph's function, in order: inputs, then outputs."""
    constants_bytes: int
    """Read-only data (the weights), in bytes."""
    activations_bytes: int
    """Stack for activations, in bytes, without what calls need."""
    largest_live_bytes: int
    """Most bytes alive at once: the lower bound of any plan."""


def fit(generated: str, function: str, prefix: str) -> CSource:
    """Plan the memory of `function`, in the C file that the generator wrote, and keep all its names inside.

    Comments go, and so does what `function` does not use. Every name of the file's scope begins with `prefix`:
    the files of several graphs can be compiled as one.

    Raises:
        ExportError: the file is not as this version of the generator writes it.
    """
    generated = re.sub(r"^[^\S\n]*/\*.*?\*/\n?", "", generated, flags=re.MULTILINE | re.DOTALL)
    declared = re.search(rf"^void {function}\((.*)\) {{\n(.*?)^}}\n", generated, re.MULTILINE | re.DOTALL)
    if declared is None:
        raise _unknown(f"no function {function}")
    parameters = dict(map(_parsed, declared[1].split(", ")))
    locals_: dict[str, Array] = {}
    calls: list[tuple[str, list[str]]] = []
    for line in declared[2].splitlines():
        if found := _LOCAL.fullmatch(line):
            locals_[found[2]] = Array(found[1], _sizes(found[3]))
        elif found := _CALL.fullmatch(line):
            calls.append((found[1], found[2].split(", ")))
        else:
            raise _unknown(repr(line.strip()[:80]))
    places, sizes = _plan(locals_, calls)
    body = [f"    {type_} {_arena(type_)}[{size}];" for type_, size in sizes.items()]
    for name, arguments in calls:
        wanted = _signature(generated, name)
        passed = []
        for argument, parameter in zip(arguments, wanted, strict=True):
            if argument in places:
                array = locals_[argument]
                passed.append(f"{parameter.pointer()}&{_arena(array.type)}[{places[argument]}]")
            elif argument in parameters and parameter.constant and not parameters[argument].constant:
                passed.append(f"{parameter.pointer()}{argument}")
            else:
                passed.append(argument)
        body.append(f"    {name}({', '.join(passed)});")
    entry = f"static void {function}({declared[1]}) {{\n" + "\n".join(body) + "\n}\n"
    code, constants = _used(generated[: declared.start()], function, entry, prefix)
    return CSource(
        code,
        parameters,
        constants_bytes=sum(map(_bytes, constants)),
        activations_bytes=sum(BYTES[type_] * size for type_, size in sizes.items()),
        largest_live_bytes=_largest_live(locals_, calls),
    )


def _used(generated: str, function: str, entry: str, prefix: str) -> tuple[str, list[Array]]:
    """Return the includes, `entry` and all that it needs, names prefixed with `prefix`; and its constants."""
    includes, definitions = _definitions(generated)
    definitions[function] = entry
    used, todo = {function}, [function]
    while todo:
        words = set(_WORD.findall(definitions[todo.pop()]))
        todo += (new := words & definitions.keys() - used)
        used |= new
    parts = [text for name, text in definitions.items() if name in used]
    found = [match for text in parts if (match := _CONSTANT.match(text))]
    code = _WORD.sub(lambda word: f"{prefix}_{word[0]}" if word[0] in used else word[0], "\n".join(parts))
    constants = [Array(match[1], _sizes(match[3])) for match in found]
    return "\n".join([*includes, "", code]), constants


def _definitions(generated: str) -> tuple[list[str], dict[str, str]]:
    """Return includes, and each function and constant of the file's scope by its name, without macros."""
    # Macros that the generator defines for compilers which have no such thing: plain C99 needs none.
    plain = re.sub(r"^EMX_NODE_FN ", "static ", generated, flags=re.MULTILINE)
    plain = re.sub(r"^const EMX_UNUSED|^static const EMX_UNUSED", "static const", plain, flags=re.MULTILINE)
    plain = re.sub(r"^extern const [^\n]*;\n|^_Bool \w+_load\(.*?^}\n", "", plain, flags=re.MULTILINE | re.DOTALL)
    plain = re.sub(r"\bidx_t\b", "int32_t", plain)
    includes: list[str] = []
    definitions: dict[str, str] = {}
    lines, depth = iter(plain.splitlines()), 0
    for line in lines:
        if line.startswith("#if"):
            depth += 1
        elif line.startswith("#endif"):
            depth -= 1
        elif line.startswith("#include <"):
            includes.append(line)
        elif line and not depth:
            if (found := _DEFINITION.match(line)) is None:
                raise _unknown(repr(line[:80]))
            text = [line]
            while text[-1] not in ("}", "};") and not line.endswith(";"):
                text.append(next(lines, "}"))
            definitions[found[1]] = "\n".join([*text, ""])
    return includes, definitions


def _plan(
    arrays: Mapping[str, Array], calls: Sequence[tuple[str, list[str]]]
) -> tuple[dict[str, int], dict[str, int]]:
    """Plan memory first fit, largest first, among arrays of one type: name -> place, type -> elements."""
    lives = _lives(arrays, calls)
    places: dict[str, int] = {}
    sizes: dict[str, int] = {}
    for name in sorted(lives, key=lambda name: -arrays[name].elements):
        array, (first, last) = arrays[name], lives[name]
        taken = sorted(
            (places[other], places[other] + arrays[other].elements)
            for other in places
            if arrays[other].type == array.type and lives[other][0] <= last and first <= lives[other][1]
        )
        place = 0
        for start, end in taken:
            if place + array.elements <= start:
                break
            place = max(place, end)
        places[name] = place
        sizes[array.type] = max(sizes.get(array.type, 0), place + array.elements)
    return places, sizes


def _lives(arrays: Mapping[str, Array], calls: Sequence[tuple[str, list[str]]]) -> dict[str, tuple[int, int]]:
    """Return name -> first and last call that uses it."""
    lives: dict[str, tuple[int, int]] = {}
    for step, (_, arguments) in enumerate(calls):
        for name in arguments:
            if name in arrays:
                lives[name] = (lives.get(name, (step, step))[0], step)
    return lives


def _largest_live(arrays: Mapping[str, Array], calls: Sequence[tuple[str, list[str]]]) -> int:
    lives = _lives(arrays, calls)
    return max(
        sum(_bytes(arrays[name]) for name, (first, last) in lives.items() if first <= step <= last)
        for step in range(len(calls))
    )


def _signature(generated: str, function: str) -> list[Array]:
    found = re.search(rf"^EMX_NODE_FN void {function}\((.*)\) {{$", generated, re.MULTILINE)
    if found is None:
        raise _unknown(f"no function {function}")
    return [array for _, array in map(_parsed, found[1].split(", "))]


def _parsed(parameter: str) -> tuple[str, Array]:
    found = _ARRAY.fullmatch(parameter)
    if found is None or found[2] not in BYTES:
        raise _unknown(f"the parameter {parameter!r}")
    return found[3], Array(found[2], _sizes(found[4]), constant=found[1] is not None)


def _sizes(brackets: str) -> tuple[int, ...]:
    return tuple(int(size.removeprefix("restrict ")) for size in re.findall(r"\[([^\]]+)\]", brackets))


def _bytes(array: Array) -> int:
    return BYTES[array.type] * array.elements


def _arena(type_: str) -> str:
    return f"{type_.removesuffix('_t')}_values"


def _unknown(what: str) -> ExportError:
    return ExportError(
        f"emx-onnx-cgen wrote C that cannot be planned: {what}; the model uses an operator that aetool has not "
        "seen in C, use another target"
    )
