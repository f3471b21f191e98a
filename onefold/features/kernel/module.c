/* The module `onefold.features._kernel`. */
#include "kernel.h"

static int fill(PyObject *module)
{
    if (PyModule_AddFunctions(module, RECORDS) < 0 || PyModule_AddFunctions(module, APPENDS) < 0)
        return -1;
    return PyModule_AddIntConstant(module, "INTERFACE", INTERFACE);
}

static PyModuleDef_Slot SLOTS[] = {{Py_mod_exec, (void *)fill}, {0, NULL}};

static struct PyModuleDef MODULE = {
    PyModuleDef_HEAD_INIT,
    .m_name = "onefold.features._kernel",
    .m_doc = "Reads states natively; see onefold/features/native.py.",
    .m_slots = SLOTS,
};

PyMODINIT_FUNC PyInit__kernel(void)
{
    return PyModuleDef_Init(&MODULE);
}
