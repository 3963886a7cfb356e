/* The public C API: load a model, look at it, run it. */
#ifndef TIERCEL_TIERCEL_H
#define TIERCEL_TIERCEL_H
#include "tiercel/kernel.h"
#endif
