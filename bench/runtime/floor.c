/* The floor of a task switch: a loop over PyIter_Send, a native awaitable without state, a context
   of its own entered for each step. What a scheduler adds is above this. */
#define PY_SSIZE_T_CLEAN
#include <Python.h>

static PyObject *the_pause;
/* Set before a coroutine is resumed that was suspended: its await then ends. */
static int is_resuming;

static PyObject *itself(PyObject *self) { return Py_NewRef(self); }

static PySendResult pause_send(PyObject *self, PyObject *value, PyObject **result) {
    int ends = is_resuming;
    (void)self;
    (void)value;
    is_resuming = 0;
    *result = Py_NewRef(Py_None);
    return ends ? PYGEN_RETURN : PYGEN_NEXT;
}

/* Only there so that the type counts as an iterator. */
static PyObject *pause_next(PyObject *self) {
    (void)self;
    return NULL;
}

static PyObject *give_pause(PyObject *module, PyObject *unused) {
    (void)module;
    (void)unused;
    return Py_NewRef(the_pause);
}

static PyType_Slot slots[] = {{Py_am_await, itself},
                              {Py_tp_iter, itself},
                              {Py_tp_iternext, pause_next},
                              {Py_am_send, pause_send},
                              {0, NULL}};
static PyType_Spec spec = {"floor.Pause", sizeof(PyObject), 0, Py_TPFLAGS_DEFAULT, slots};

/* drive(coroutines, contexts): resumes all in turn until they end; the number of steps. */
static PyObject *drive(PyObject *module, PyObject *args) {
    PyObject *coroutines, *contexts;
    long long steps = 0;
    int round = 0;
    (void)module;
    if (!PyArg_ParseTuple(args, "O!O!", &PyList_Type, &coroutines, &PyList_Type, &contexts))
        return NULL;
    Py_ssize_t count = PyList_GET_SIZE(coroutines), alive = count;
    for (; alive > 0; round = 1) {
        for (Py_ssize_t at = 0; at < count; at++) {
            PyObject *result, *coroutine = PyList_GET_ITEM(coroutines, at);
            PyObject *context = PyList_GET_ITEM(contexts, at);
            if (coroutine == Py_None)
                continue;
            if (PyContext_Enter(context))
                return NULL;
            is_resuming = round;
            PySendResult sent = PyIter_Send(coroutine, Py_None, &result);
            if (PyContext_Exit(context))
                return NULL;
            if (sent == PYGEN_ERROR)
                return NULL;
            Py_DECREF(result);
            steps++;
            if (sent == PYGEN_RETURN) {
                alive--;
                PyList_SetItem(coroutines, at, Py_NewRef(Py_None));
            }
        }
    }
    return PyLong_FromLongLong(steps);
}

static PyMethodDef methods[] = {{"drive", drive, METH_VARARGS, NULL},
                                {"pause", give_pause, METH_NOARGS, NULL},
                                {NULL, NULL, 0, NULL}};
static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, "floor", NULL, -1, methods,
                                        NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit_floor(void) {
    PyObject *type = PyType_FromSpec(&spec);
    if (type == NULL || (the_pause = PyObject_CallNoArgs(type)) == NULL)
        return NULL;
    return PyModule_Create(&definition);
}
