"""The plan of the generated C's memory: nothing that is alive shares a place; what is unknown is refused."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aetool.deploy import _c_source as c_source
from aetool.errors import ExportError

PROGRAM = """/*
 * Generated: somebody's text
 */

#include <math.h>

#ifndef EMX_NODE_FN
#define EMX_NODE_FN static inline
#endif

/*
 * Weight 1
 */
extern const float weight1_w[2][3];

const EMX_UNUSED float weight1_w[2][3] = {
    {1, 2, 3}, {4, 5, 6}
};

static inline float unused(float a) {
    return a;
}

const EMX_UNUSED int64_t weight2_v[1] = { 1LL };

/* Node 0 */
EMX_NODE_FN void node0(const float a[1][3], const float b[2][3], float out[1][2]) {
    (void)a; (void)b; (void)out;
}

EMX_NODE_FN void node1(const float a[1][2], float out[1][2]) {
    (void)a; (void)out;
}

_Bool f_load(const char *path) {
    return 1;
}

void f(const float x[restrict 1][3], float y[restrict 1][2]) {
    float t0[1][2];
    float t1[1][2];
    float t2[1][2];
    node0(x, weight1_w, t0);
    node1(t0, t1);
    node1(t1, t2);
    node1(t2, y);
}
"""


@st.composite
def programs(draw):
    """Arrays of two types, and calls each of which reads some and writes the next."""
    kinds, sizes = st.sampled_from(["float", "bool"]), st.integers(1, 50)
    arrays = {f"t{i}": c_source.Array(draw(kinds), (1, draw(sizes))) for i in range(draw(st.integers(1, 12)))}
    names, calls = list(arrays), []
    for i, name in enumerate(names):
        read = draw(st.lists(st.sampled_from(names[:i]), max_size=3)) if i else []
        calls.append((f"node{i}", [*read, name]))
    return arrays, calls


@given(programs())
def test_arrays_that_live_together_lie_apart(program):
    arrays, calls = program
    places, sizes = c_source._plan(arrays, calls)
    lives = c_source._lives(arrays, calls)
    for one, other in itertools.combinations(places, 2):
        together = lives[one][0] <= lives[other][1] and lives[other][0] <= lives[one][1]
        if together and arrays[one].type == arrays[other].type:
            ends = [places[name] + arrays[name].elements for name in (one, other)]
            assert ends[0] <= places[other] or ends[1] <= places[one]
    for name, place in places.items():
        assert place >= 0 and place + arrays[name].elements <= sizes[arrays[name].type]


def test_a_chain_takes_the_room_of_two_neighbours():
    found = c_source.fit(PROGRAM, "f", "m")
    assert found.activations_bytes == found.largest_live_bytes == 16
    assert found.constants_bytes == 24
    assert "static const float m_weight1_w" in found.code and "static void m_f(" in found.code
    for gone in ("extern", "f_load", "unused", "weight2_v", "EMX", "/*", "somebody"):
        assert gone not in found.code
    assert "    float float_values[4];\n" in found.code
    assert "m_node1((const float (*)[2])&float_values[0], (float (*)[2])&float_values[2]);" in found.code


@pytest.mark.parametrize(
    ("text", "instead"),
    [
        ("    node1(t1, t2);", "    if (x) node1(t1, t2);"),
        ("    float t1[1][2];", "    float *t1 = malloc(8);"),
        ("void f(const float x[restrict 1][3]", "void f(int batch, const float x[restrict 1][3]"),
        ("EMX_NODE_FN void node1(", "EMX_NODE_FN int node1("),
        ("void f(", "void g("),
        ("_Bool f_load", "int f_load"),
    ],
)
def test_what_the_generator_never_wrote_is_refused(text, instead):
    assert text in PROGRAM
    with pytest.raises(ExportError, match="cannot be planned"):
        c_source.fit(PROGRAM.replace(text, instead), "f", "m")
