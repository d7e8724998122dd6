/* The core for Python: CPython's limited API and the buffer protocol, so that one file serves 3.11 and later. */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>
#include <float.h>
#include <stdlib.h>
#include <string.h>

#include "core.h"

#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

/* Kinds of vectors, the widest first: core.c is compiled once for each, and `aetool_run` itself for what every
 * processor of the kind has. */

typedef void run_function(
    const aetool_plan *, const float *, const float *, float *const *, size_t, float *);

typedef struct {
  const char *name;
  run_function *run;
} variant;

#if defined(__x86_64__)
run_function aetool_run_avx512, aetool_run_avx2, aetool_run_plain;
static const variant variants[] = {
    {"avx512", aetool_run_avx512}, {"avx2", aetool_run_avx2}, {"sse2", aetool_run_with}, {"plain", aetool_run_plain}};
#elif defined(__aarch64__)
run_function aetool_run_plain;
static const variant variants[] = {{"neon", aetool_run_with}, {"plain", aetool_run_plain}};
#else
static const variant variants[] = {{"plain", aetool_run_with}};
#endif
enum { VARIANT_COUNT = sizeof variants / sizeof *variants };

static int usable(const char *name) {
#if defined(__x86_64__)
  if (!strcmp(name, "avx512")) /* all that _build.py lets the compiler use */
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  if (!strcmp(name, "avx2")) return __builtin_cpu_supports("avx2") != 0;
#endif
  (void)name;
  return 1;
}

/* Rounding to nearest and denormals kept, whatever the calling thread has set; its own mode comes back. */
#if defined(__x86_64__)
enum { IEEE = 0x1F80 };
typedef unsigned int mode;
static mode enter_ieee(void) {
  const mode before = _mm_getcsr();
  if ((before & 0xFFC0u) != IEEE) _mm_setcsr(IEEE);
  return before;
}
static void leave_ieee(mode before) {
  if ((before & 0xFFC0u) != IEEE) _mm_setcsr(before);
}
#elif defined(__aarch64__)
typedef uint64_t mode;
static mode enter_ieee(void) {
  mode before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
  if (before) __asm__ volatile("msr fpcr, %0" : : "r"((mode)0));
  return before;
}
static void leave_ieee(mode before) {
  if (before) __asm__ volatile("msr fpcr, %0" : : "r"(before));
}
#else
typedef int mode;
static mode enter_ieee(void) { return 0; }
static void leave_ieee(mode before) { (void)before; }
#endif

/* Plan: a checked aetool_plan and the arrays that it reads. */

enum { FLOATS, HALVES, INDEXES, STEPS, ARRAYS };

typedef struct {
  PyObject_HEAD
  aetool_plan plan;
  run_function *run;
  float *work; /* for a few rows, under the interpreter's lock */
  Py_buffer arrays[ARRAYS];
} Plan;

static void run_plan(
    const Plan *self, const float *input, const float *second, float *const *outputs, size_t rows, float *work) {
  const mode before = enter_ieee();
  self->run(&self->plan, input, second, outputs, rows, work);
  leave_ieee(before);
}

static float *new_work(const aetool_plan *plan) {
  const size_t numbers = (size_t)plan->n_work * AETOOL_ROWS;
  return calloc(numbers ? numbers : 1, sizeof(float));
}

static void free_plan(PyObject *object) {
  Plan *const self = (Plan *)object;
  PyTypeObject *const type = Py_TYPE(object);
  for (int i = 0; i < ARRAYS; i++)
    if (self->arrays[i].obj) PyBuffer_Release(&self->arrays[i]);
  free(self->work);
  ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
  Py_DECREF(type);
}

/* How many numbers of `size` bytes an array holds; -1 for what no plan reads. */
static int count_of(const Py_buffer *array, Py_ssize_t size, int32_t *count) {
  const int aligned = (uintptr_t)array->buf % sizeof(float) == 0;
  if (!aligned || array->len % size || array->len / size > INT32_MAX) return -1;
  *count = (int32_t)(array->len / size);
  return 0;
}

static PyObject *new_plan(PyTypeObject *type, PyObject *arguments, PyObject *names) {
  static char *keywords[] = {"variant", "steps", "floats", "halves", "indexes", "row", "outputs", "work", "second",
                             NULL};
  const char *name;
  PyObject *given[ARRAYS], *sizes;
  int input, work, second = 0;
  if (!PyArg_ParseTupleAndKeywords(arguments, names, "sO!O!O!O!iO!i|i", keywords, &name, &PyBytes_Type, &given[STEPS],
                                   &PyMemoryView_Type, &given[FLOATS], &PyMemoryView_Type, &given[HALVES],
                                   &PyBytes_Type, &given[INDEXES], &input, &PyTuple_Type, &sizes, &work,
                                   &second))
    return NULL;
  Plan *const self = (Plan *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
  if (!self) return NULL;
  for (int i = 0; i < VARIANT_COUNT; i++)
    if (!strcmp(variants[i].name, name) && usable(name)) self->run = variants[i].run;
  if (!self->run) {
    PyErr_Format(PyExc_ValueError, "this processor has no %s", name);
    goto fail;
  }
  for (int i = 0; i < ARRAYS; i++)
    if (PyObject_GetBuffer(given[i], &self->arrays[i], PyBUF_C_CONTIGUOUS) < 0) goto fail;
  aetool_plan *const plan = &self->plan;
  const Py_ssize_t outputs = PyTuple_Size(sizes);
  if (outputs > AETOOL_OUTPUTS || count_of(&self->arrays[STEPS], sizeof(aetool_step), &plan->n_steps) ||
      count_of(&self->arrays[FLOATS], sizeof(float), &plan->n_floats) ||
      count_of(&self->arrays[HALVES], sizeof(uint16_t), &plan->n_halves) ||
      count_of(&self->arrays[INDEXES], sizeof(int32_t), &plan->n_indexes)) {
    PyErr_SetString(PyExc_ValueError, "the plan is of a size or alignment that the core does not take");
    goto fail;
  }
  plan->steps = self->arrays[STEPS].buf;
  plan->floats = self->arrays[FLOATS].buf;
  plan->halves = self->arrays[HALVES].buf;
  plan->indexes = self->arrays[INDEXES].buf;
  plan->n_input = input, plan->n_second = second, plan->n_work = work, plan->n_outputs = (int32_t)outputs;
  for (Py_ssize_t k = 0; k < outputs; k++) {
    const long size = PyLong_AsLong(PyTuple_GetItem(sizes, k));
    if (size == -1 && PyErr_Occurred()) goto fail;
    plan->output[k] = size < 1 || size > INT32_MAX ? 0 : (int32_t)size;
  }
  const int32_t wrong = aetool_check(plan);
  if (wrong) {
    PyErr_Format(PyExc_ValueError, "step %d of the plan is wrong", (int)wrong);
    goto fail;
  }
  if (!(self->work = new_work(plan))) {
    PyErr_NoMemory();
    goto fail;
  }
  return (PyObject *)self;
fail:
  Py_DECREF(self);
  return NULL;
}

/* Whether `view` holds float32 numbers, C-ordered, of `numbers` or more. */
static int holds_floats(const Py_buffer *view) {
  return view->itemsize == 4 && view->format && view->format[0] == 'f' && view->format[1] == 0 &&
         (uintptr_t)view->buf % sizeof(float) == 0;
}

PyDoc_STRVAR(run_doc, "run(rows, outputs, second=None)\n--\n\n"
                      "Compute rows, (rows, n) float32, into arrays or None, without the lock.");
static PyObject *run_many(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
  Plan *const self = (Plan *)object;
  const aetool_plan *const plan = &self->plan;
  Py_buffer views[AETOOL_OUTPUTS + 2], *const also = &views[AETOOL_OUTPUTS + 1];
  float *outputs[AETOOL_OUTPUTS] = {NULL}, *work = NULL;
  PyObject *result = NULL;
  memset(views, 0, sizeof views);
  if (count < 2 || count > 3 || !PyTuple_Check(arguments[1]) || PyTuple_Size(arguments[1]) != plan->n_outputs) {
    PyErr_SetString(PyExc_TypeError, "run(rows, outputs, second): expected rows and a tuple of all outputs");
    return NULL;
  }
  if (PyObject_GetBuffer(arguments[0], &views[0], PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) return NULL;
  const Py_ssize_t row = (Py_ssize_t)sizeof(float) * plan->n_input, rows = views[0].len / row;
  if (!holds_floats(&views[0]) || views[0].len % row) goto wrong;
  for (int32_t k = 0; k < plan->n_outputs; k++) {
    PyObject *const to = PyTuple_GetItem(arguments[1], k);
    if (to == Py_None) continue;
    Py_buffer *const view = &views[k + 1];
    if (PyObject_GetBuffer(to, view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE) < 0) goto done;
    const Py_ssize_t size = (Py_ssize_t)sizeof(float) * plan->output[k];
    if (!holds_floats(view) || view->len % size || view->len / size != rows) goto wrong;
    outputs[k] = view->buf;
  }
  if (plan->n_second) {
    if (count != 3) goto wrong;
    if (PyObject_GetBuffer(arguments[2], also, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) goto done;
    const Py_ssize_t size = (Py_ssize_t)sizeof(float) * plan->n_second;
    if (!holds_floats(also) || also->len % size || also->len / size != rows) goto wrong;
  }
  if (!(work = new_work(plan))) {
    PyErr_NoMemory();
    goto done;
  }
  Py_BEGIN_ALLOW_THREADS
  run_plan(self, views[0].buf, also->buf, outputs, (size_t)rows, work);
  Py_END_ALLOW_THREADS
  result = Py_None;
  Py_INCREF(result);
  goto done;
wrong:
  PyErr_SetString(PyExc_ValueError, "run(rows, outputs): arrays of other sizes or types than the plan's");
done:
  free(work);
  for (int i = 0; i <= AETOOL_OUTPUTS + 1; i++)
    if (views[i].obj) PyBuffer_Release(&views[i]);
  return result;
}

static PyMethodDef plan_methods[] = {
    {"run", (PyCFunction)(void (*)(void))run_many, METH_FASTCALL, run_doc}, {NULL, NULL, 0, NULL}};

static PyType_Slot plan_slots[] = {{Py_tp_new, new_plan}, {Py_tp_dealloc, free_plan}, {Py_tp_methods, plan_methods}, {0, NULL}};
static PyType_Spec plan_spec = {"aetool.core._native.Plan", sizeof(Plan), 0, Py_TPFLAGS_DEFAULT, plan_slots};

/* Caller: one output of a plan for a few rows, as short as the way can be. */

enum { SIDES = 7, FEW = 64 };

typedef struct {
  PyObject_HEAD
  Plan *plan;
  PyObject *slow; /* for whatever is no array of float32 rows */
  PyObject *more; /* for more than a few of them */
  PyObject *few[FEW + 1]; /* bound `copy` of an empty result for a row without batch axis, and for 1 row, 2, ... */
  PyObject *nothing; /* () */
  PyObject *array; /* numpy.ndarray: its subclasses may hide more than numbers */
  int32_t count, output, sides;
  int decides, scalar; /* the output is true or false; that of a row without batch axis is no array */
  Py_ssize_t row[SIDES];
} Caller;

static void free_caller(PyObject *object) {
  Caller *const self = (Caller *)object;
  PyTypeObject *const type = Py_TYPE(object);
  PyObject_GC_UnTrack(object);
  for (int32_t i = 0; i <= FEW; i++) Py_XDECREF(self->few[i]);
  Py_XDECREF(self->nothing);
  Py_XDECREF(self->array);
  Py_XDECREF(self->slow);
  Py_XDECREF(self->more);
  Py_XDECREF((PyObject *)self->plan);
  ((freefunc)PyType_GetSlot(type, Py_tp_free))(object);
  Py_DECREF(type);
}

static int visit_caller(PyObject *object, visitproc visit, void *arg) {
  Caller *const self = (Caller *)object;
  Py_VISIT(Py_TYPE(object));
  Py_VISIT(self->slow);
  Py_VISIT(self->more);
  return 0;
}

static int clear_caller(PyObject *object) {
  Py_CLEAR(((Caller *)object)->slow);
  Py_CLEAR(((Caller *)object)->more);
  return 0;
}

static PyTypeObject *plan_type;

static PyObject *new_caller(PyTypeObject *type, PyObject *arguments, PyObject *names) {
  static char *keywords[] = {"plan", "output", "row", "few", "decides", "scalar", "array", "slow", "more", NULL};
  PyObject *plan, *row, *few, *array, *slow, *more;
  int output, decides, scalar;
  if (!PyArg_ParseTupleAndKeywords(arguments, names, "O!iO!O!ppOOO", keywords, plan_type, &plan, &output,
                                   &PyTuple_Type, &row, &PyTuple_Type, &few, &decides, &scalar, &array, &slow,
                                   &more))
    return NULL;
  const Py_ssize_t sides = PyTuple_Size(row), count = PyTuple_Size(few);
  if (sides < 1 || sides > SIDES || count < 1 || count > FEW + 1 || output < 0 ||
      output >= ((Plan *)plan)->plan.n_outputs) {
    PyErr_SetString(PyExc_ValueError, "Caller: rows, results or an output that the plan does not have");
    return NULL;
  }
  Py_ssize_t numbers = 1, shape[SIDES];
  for (Py_ssize_t i = 0; i < sides; i++) {
    shape[i] = PyLong_AsSsize_t(PyTuple_GetItem(row, i));
    if (shape[i] < 1 || shape[i] > INT32_MAX || (numbers *= shape[i]) > INT32_MAX) {
      if (!PyErr_Occurred()) PyErr_SetString(PyExc_ValueError, "Caller: a row of an impossible shape");
      return NULL;
    }
  }
  if (numbers != ((Plan *)plan)->plan.n_input || ((Plan *)plan)->plan.n_second) {
    PyErr_SetString(PyExc_ValueError, "Caller: rows of another size than the plan's");
    return NULL;
  }
  Caller *const self = (Caller *)((allocfunc)PyType_GetSlot(type, Py_tp_alloc))(type, 0);
  if (!self) return NULL;
  if (!(self->nothing = PyTuple_New(0))) {
    Py_DECREF(self);
    return NULL;
  }
  Py_INCREF(plan), self->plan = (Plan *)plan;
  Py_INCREF(array), self->array = array;
  Py_INCREF(slow), self->slow = slow;
  Py_INCREF(more), self->more = more;
  for (Py_ssize_t i = 0; i < count; i++) {
    self->few[i] = PyTuple_GetItem(few, i);
    Py_INCREF(self->few[i]);
  }
  memcpy(self->row, shape, sizeof shape);
  self->count = (int32_t)count, self->output = output, self->sides = (int32_t)sides;
  self->decides = decides, self->scalar = scalar;
  return (PyObject *)self;
}

/* Rows in `view`, 0 for one without a batch axis; -1 if there are none, or other than rows. */
static Py_ssize_t rows_in(const Caller *self, const Py_buffer *view) {
  const int batch = view->ndim - self->sides;
  if (!holds_floats(view) || (batch != 0 && batch != 1) || !view->shape) return -1;
  for (int32_t i = 0; i < self->sides; i++)
    if (view->shape[batch + i] != self->row[i]) return -1;
  const Py_ssize_t rows = batch ? view->shape[0] : 0;
  return batch && rows < 1 ? -1 : rows;
}

/* Write `rows` rows into `result`, in the type of the caller: 0, or -1 with an error. */
static int fill(const Caller *self, const float *input, Py_ssize_t rows, PyObject *result) {
  const aetool_plan *const plan = &self->plan->plan;
  const Py_ssize_t numbers = rows * plan->output[self->output];
  float *outputs[AETOOL_OUTPUTS] = {NULL}, decisions[FEW];
  Py_buffer view;
  if (PyObject_GetBuffer(result, &view, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE) < 0) return -1;
  if (view.len != numbers * (self->decides ? 1 : (Py_ssize_t)sizeof(float)) || (self->decides && numbers > FEW)) {
    PyBuffer_Release(&view);
    PyErr_SetString(PyExc_ValueError, "Caller: a result of another size than the plan's");
    return -1;
  }
  outputs[self->output] = self->decides ? decisions : view.buf;
  run_plan(self->plan, input, NULL, outputs, (size_t)rows, self->plan->work);
  if (self->decides)
    for (Py_ssize_t i = 0; i < numbers; i++) ((char *)view.buf)[i] = decisions[i] != 0;
  PyBuffer_Release(&view);
  return 0;
}

PyDoc_STRVAR(call_doc, "call(data, out=None)\n--\n\nReturn the output for a few rows; others go to `more`, whatever else to `slow`.");
static PyObject *call(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
  Caller *const self = (Caller *)object;
  if (count < 1 || count > 2) {
    PyErr_SetString(PyExc_TypeError, "call(data, out=None): expected one or two arguments");
    return NULL;
  }
  Py_buffer view;
  Py_ssize_t rows = -1;
  PyObject *result = NULL;
  if (count == 2 && arguments[1] != Py_None) goto slow;
  if ((PyObject *)Py_TYPE(arguments[0]) != self->array) goto slow;
  if (PyObject_GetBuffer(arguments[0], &view, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
    PyErr_Clear(); /* in another order in memory: the slow way copies it */
    goto slow;
  }
  rows = rows_in(self, &view);
  if (rows >= 0 && rows < self->count) {
    result = PyObject_CallNoArgs(self->few[rows]);
    if (result && fill(self, view.buf, rows ? rows : 1, result) < 0) Py_CLEAR(result);
  }
  PyBuffer_Release(&view);
  if (rows < 0) goto slow;
  if (rows >= self->count) return PyObject_CallFunctionObjArgs(self->more, arguments[0], NULL);
  if (rows == 0 && result && self->scalar) {
    PyObject *const number = PyObject_GetItem(result, self->nothing);
    Py_DECREF(result);
    return number;
  }
  return result;
slow:
  return PyObject_CallFunctionObjArgs(self->slow, arguments[0], count == 2 ? arguments[1] : Py_None, NULL);
}

/* Numbers of a list or a tuple as numpy takes them: how many, or -1 if another kind of cell is among them. */
enum { CELLS = 256 };
static const double EXACT = 9007199254740992.0; /* 2 to the 53 */
static Py_ssize_t floats_of(PyObject *cells, float *to) {
  const int is_list = PyList_CheckExact(cells);
  const Py_ssize_t count = is_list ? PyList_Size(cells) : PyTuple_Size(cells);
  if (count > CELLS) return -1;
  for (Py_ssize_t i = 0; i < count; i++) {
    PyObject *const cell = is_list ? PyList_GetItem(cells, i) : PyTuple_GetItem(cells, i);
    const int whole = PyLong_CheckExact(cell);
    if (!whole && !PyFloat_CheckExact(cell)) return -1;
    const double number = whole ? PyLong_AsDouble(cell) : PyFloat_AsDouble(cell);
    if (number == -1.0 && PyErr_Occurred()) { /* a whole number beyond any double */
      PyErr_Clear();
      return -1;
    }
    if (whole && !(number >= -EXACT && number <= EXACT)) return -1; /* numpy rounds it once */
    if (number > FLT_MAX || number < -FLT_MAX) return -1; /* infinite, or nearly: the slow way tells */
    to[i] = (float)number;
  }
  return count;
}

PyDoc_STRVAR(push_doc, "push(window, sample, filled, stride)\n--\n\n"
                       "Put a sample into a window that has `filled`; return how many it has then, or once it is full the\n"
                       "output for it. A full window steps on before. None: nothing was done, this is another kind of sample.");
static PyObject *push(PyObject *object, PyObject *const *arguments, Py_ssize_t count) {
  Caller *const self = (Caller *)object;
  if (count != 4) {
    PyErr_SetString(PyExc_TypeError, "push(window, sample, filled, stride): expected four arguments");
    return NULL;
  }
  Py_ssize_t filled = PyLong_AsSsize_t(arguments[2]);
  const Py_ssize_t stride = PyLong_AsSsize_t(arguments[3]);
  if (PyErr_Occurred()) return NULL;
  const int is_array = (PyObject *)Py_TYPE(arguments[1]) == self->array;
  if (!is_array && !PyList_CheckExact(arguments[1]) && !PyTuple_CheckExact(arguments[1])) Py_RETURN_NONE;
  Py_buffer window, sample = {0};
  float cells[CELLS];
  const void *from = cells;
  Py_ssize_t bytes;
  int is_sample = 1;
  if (!is_array) {
    bytes = floats_of(arguments[1], cells) * (Py_ssize_t)sizeof(float);
  } else if (PyObject_GetBuffer(arguments[1], &sample, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT) < 0) {
    PyErr_Clear(); /* in another order in memory: the slow way copies it */
    Py_RETURN_NONE;
  } else {
    from = sample.buf, bytes = sample.len, is_sample = holds_floats(&sample) && sample.ndim == 1;
  }
  if (PyObject_GetBuffer(arguments[0], &window, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE) < 0) {
    if (is_array) PyBuffer_Release(&sample);
    return NULL;
  }
  PyObject *result = NULL;
  const Py_ssize_t input = (Py_ssize_t)sizeof(float) * self->plan->plan.n_input;
  const Py_ssize_t rows = bytes > 0 ? input / bytes : 0;
  is_sample = is_sample && rows > 0 && rows * bytes == input && window.ndim == 2 &&
              window.shape[1] * (Py_ssize_t)sizeof(float) == bytes;
  if (!holds_floats(&window) || window.len != input || filled < 0 || (is_sample && filled > rows) || stride < 1 ||
      self->count < 2) {
    PyErr_SetString(PyExc_ValueError, "push(window, sample, filled, stride): another window than the plan's");
  } else if (!is_sample || (filled == rows && stride >= rows)) {
    result = Py_None;
    Py_INCREF(result);
  } else {
    char *const to = window.buf;
    const int steps = filled == rows;
    if (steps) filled -= stride;
    result = filled + 1 < rows ? PyLong_FromSsize_t(filled + 1) : PyObject_CallNoArgs(self->few[1]);
    if (result) { /* only now: whoever got an error finds the window as it was */
      if (steps) memmove(to, to + stride * bytes, (size_t)((rows - stride) * bytes));
      memcpy(to + filled * bytes, from, (size_t)bytes);
      if (filled + 1 == rows && fill(self, window.buf, 1, result) < 0) Py_CLEAR(result);
    }
  }
  PyBuffer_Release(&window);
  if (is_array) PyBuffer_Release(&sample);
  return result;
}

static PyMethodDef caller_methods[] = {
    {"call", (PyCFunction)(void (*)(void))call, METH_FASTCALL, call_doc},
    {"push", (PyCFunction)(void (*)(void))push, METH_FASTCALL, push_doc},
    {NULL, NULL, 0, NULL}};
static PyType_Slot caller_slots[] = {{Py_tp_new, new_caller},       {Py_tp_dealloc, free_caller},
                                     {Py_tp_traverse, visit_caller}, {Py_tp_clear, clear_caller},
                                     {Py_tp_methods, caller_methods}, {0, NULL}};
static PyType_Spec caller_spec = {
    "aetool.core._native.Caller", sizeof(Caller), 0, Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC, caller_slots};

PyDoc_STRVAR(variants_doc, "variants()\n--\n\nReturn the kinds of vectors that this processor has, the widest first.");
static PyObject *usable_variants(PyObject *module, PyObject *nothing) {
  (void)module, (void)nothing;
  PyObject *const found = PyList_New(0);
  for (int i = 0; found && i < VARIANT_COUNT; i++) {
    if (!usable(variants[i].name)) continue;
    PyObject *const name = PyUnicode_FromString(variants[i].name);
    if (!name || PyList_Append(found, name) < 0) {
      Py_XDECREF(name);
      Py_DECREF(found);
      return NULL;
    }
    Py_DECREF(name);
  }
  return found;
}

#if defined(__x86_64__)
PyDoc_STRVAR(mode_doc, "float_mode()\n--\n\nReturn MXCSR, how this thread computes with floats.");
static PyObject *float_mode(PyObject *module, PyObject *nothing) {
  (void)module, (void)nothing;
  return PyLong_FromUnsignedLong(_mm_getcsr());
}

PyDoc_STRVAR(set_mode_doc, "set_float_mode(mode)\n--\n\nSet MXCSR of this thread, but for bits that would trap.");
static PyObject *set_float_mode(PyObject *module, PyObject *wanted) {
  const unsigned long value = PyLong_AsUnsignedLong(wanted);
  (void)module;
  if (PyErr_Occurred()) return NULL;
  _mm_setcsr(((unsigned int)value & 0xFFFFu) | 0x1F80u); /* no reserved bits, every exception masked */
  Py_RETURN_NONE;
}
#endif

static PyMethodDef module_methods[] = {
    {"variants", usable_variants, METH_NOARGS, variants_doc},
#if defined(__x86_64__)
    {"float_mode", float_mode, METH_NOARGS, mode_doc},
    {"set_float_mode", set_float_mode, METH_O, set_mode_doc},
#endif
    {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "_native", "The core, compiled.", -1, module_methods, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void) {
  PyObject *const module = PyModule_Create(&definition);
  PyObject *const plan = module ? PyType_FromSpec(&plan_spec) : NULL;
  PyObject *const caller = plan ? PyType_FromSpec(&caller_spec) : NULL;
  if (!caller || PyModule_AddObjectRef(module, "Plan", plan) < 0 ||
      PyModule_AddObjectRef(module, "Caller", caller) < 0) {
    Py_XDECREF(caller);
    Py_XDECREF(plan);
    Py_XDECREF(module);
    return NULL;
  }
  plan_type = (PyTypeObject *)plan;
  Py_DECREF(caller);
  return module;
}
