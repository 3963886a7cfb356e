/* The kernel ABI: what a compiled kernel receives and what the kernel table says of it. Plain C, no
 * allocation, no Python. */
#ifndef TIERCEL_KERNEL_H
#define TIERCEL_KERNEL_H
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define TCL_KERNEL_ABI 1

/* A dense row-major tensor. An absent optional input has data == NULL and rank == -1.
   Outputs of data-dependent shape are allocated at their upper bound; the kernel then writes the
   true dims. */
typedef struct TclTensor {
  void* data;
  int64_t* dims;
  int64_t rank;
  int64_t dtype; /* onnx.TensorProto.DataType */
  int64_t size;  /* number of elements */
} TclTensor;

/* One attribute of a node, in the order in which the kernel names them. n == -1: absent and without
   default. int: i. float: f. ints / floats: the lists with n entries. string with a `name:a|b|c`
   choice: i is its index. */
typedef struct TclAttr {
  int64_t n;
  int64_t i;
  double f;
  const int64_t* ints;
  const double* floats;
} TclAttr;

/* A pointwise program that a kernel applies to finished runs of its output while they are still in
   cache. `apply(context, data, start, count)`: `data` points at output element `start` of the dense
   output; `count` elements follow. Elements are computed in place. NULL apply: nothing to do.
   `apply_rows` does so for `rows` runs, each `stride` elements behind the one before. `apply_sums`
   takes float32 results that are not rounded yet, from rows at `sums` that lie `sums_stride`
   elements apart, in place of those in memory; NULL where the output is not of 16-bit floats. */
typedef struct TclEpilogue {
  void (*apply)(const void* context, void* data, int64_t start, int64_t count);
  const void* context;
  void (*apply_rows)(const void* context, void* data, int64_t start, int64_t count, int64_t rows,
                     int64_t stride);
  void (*apply_sums)(const void* context, const float* sums, int64_t sums_stride, void* data,
                     int64_t start, int64_t count, int64_t rows, int64_t stride);
} TclEpilogue;

/* A pointwise program that computes what a kernel reads as input 0: `fill(context, to, start,
   count)` writes elements [start, start + count) of it to `to`. The kernel then asks for each run
   once and never reads in[0]->data. NULL fill: input 0 is in memory. */
typedef struct TclPrologue {
  void (*fill)(const void* context, void* to, int64_t start, int64_t count);
  const void* context;
} TclPrologue;

typedef struct TclCall {
  TclTensor* const* in;
  TclTensor* const* out;
  int64_t n_in;
  int64_t n_out;
  const TclAttr* attr;
  void* const* packed; /* per input: what the kernel's `pack` made of a constant input, or NULL */
  void*
      workspace; /* `workspace(call)` bytes, 64-byte aligned, shared by all threads of this call */
  const TclEpilogue* epilogue; /* never NULL */
  int64_t error_index; /* kernels may store the offending flat index here before they return an
                          error code */
  const TclPrologue* prologue; /* never NULL */
} TclCall;

/* What a kernel returns: 0, or one of these. */
enum {
  TCL_OK = 0,
  TCL_INDEX_OUT_OF_RANGE = 1,
  TCL_DIVISION_BY_ZERO = 2,
  TCL_SHAPE_MISMATCH = 3,
  TCL_INVALID_VALUE = 4,
  TCL_NOT_SUPPORTED = 5,
  TCL_TOO_LARGE = 6,
  TCL_CANCELLED = 7
};

/* Computes units [begin, end) of phase `phase`. Work is cut by shape into units; a unit's result
   depends on nothing but the call, so that any number of threads gives the same bits. Phases are
   separated by a barrier. `scratch`: `scratch(call)` bytes for this thread alone, 64-byte aligned.
 */
typedef int32_t (*TclRunFn)(TclCall* call, int64_t phase, int64_t begin, int64_t end,
                            void* scratch);
typedef int64_t (*TclUnitsFn)(
    TclCall* call,
    int64_t phase); /* how many units phase `phase` has (0: skip it; below 0: no such phase) */
typedef int64_t (*TclSizeFn)(TclCall* call); /* bytes, or nanoseconds of work on one thread */
typedef int32_t (*TclSupportsFn)(
    TclCall* call); /* 0: this call can be run; else index of `reasons` */
typedef int64_t (*TclPackSizeFn)(
    TclCall* call, int64_t input); /* bytes of packed form of constant `input`; 0: none */
typedef int32_t (*TclPackFn)(TclCall* call, int64_t input, void* packed);

/* One row of the kernel table: a variant of an operator for some types on some instruction set.
   Rows of one operator are tried in table order; the first whose types match and whose `supports`
   returns 0 is taken. */
typedef struct TclKernel {
  const char* domain; /* "" is ai.onnx */
  const char* op;
  const char* variant; /* "generic", or what makes it special */
  const char* isa;     /* "v3", "v4", "vnni", "bf16", "amx", "neon" */
  const char* types; /* "T=float;Tind=int64": type-parameter names of the OpDef; b8 b16 b32 b64 b128
                        stand for any type of that width */
  const char* const* attributes; /* NULL-terminated: "axis", "mode:nearest|linear|cubic" */
  const char* const* reasons;    /* NULL-terminated: texts for `supports` > 0; index 0 unused */
  int64_t n_phases;
  TclRunFn run;
  TclUnitsFn units;        /* NULL: one unit per phase */
  TclSizeFn workspace;     /* NULL: none */
  TclSizeFn scratch;       /* NULL: none */
  TclSizeFn work;          /* NULL: 1 ns per 8 bytes moved */
  TclSupportsFn supports;  /* NULL: always */
  TclPackSizeFn pack_size; /* NULL: packs nothing */
  TclPackFn pack;
  int64_t flags; /* TCL_INPLACE | TCL_EPILOGUE ... */
} TclKernel;

enum {
  TCL_INPLACE = 1,  /* output 0 may share its bytes with input 0 when their sizes agree */
  TCL_EPILOGUE = 2, /* the kernel calls call->epilogue on every finished run of output 0 */
  TCL_PROLOGUE = 4  /* the kernel takes input 0 from call->prologue when there is one */
};

/* One row of the tile table: an elementwise operation over n contiguous elements. Unused operands
   are NULL. A pointwise program is a list of these over tiles that stay in the L1 cache. `params`:
   the operator's numeric attributes in the order of `attributes`. out may equal any operand. */
typedef void (*TclTileFn)(void* out, const void* a, const void* b, const void* c, int64_t n,
                          const double* params);
typedef struct TclTile {
  const char* domain;
  const char* op;
  const char* isa;
  const char* types;             /* "float,float->float": operand dtypes, result dtype */
  const char* const* attributes; /* NULL-terminated, as in TclKernel, numeric or choices */
  TclTileFn run;
} TclTile;

/* The table of one library of kernels. */
typedef struct TclKernelLibrary {
  int64_t abi; /* TCL_KERNEL_ABI */
  const TclKernel* kernels;
  int64_t n_kernels;
  const TclTile* tiles;
  int64_t n_tiles;
} TclKernelLibrary;

/* The kernels compiled into libtiercel (generated by kernels/build.py). */
const TclKernelLibrary* tcl_builtin_kernels(void);

/* PTX: `bytes` bytes at `offset` of the library's text, which are `size` bytes compressed by
   deflate (RFC 1951). */
typedef struct TclDeviceText {
  int64_t offset;
  int64_t bytes;
  int64_t size;
} TclDeviceText;

/* A kernel row as GPUs run it. Its entry is
   kernel(TclCall*, phase, units, per, scratch, scratch_bytes, status, step): thread g computes
   units [g * per, (g + 1) * per) with scratch_bytes of scratch of its own. Its other functions are
   those of the row of the kernel table with the same names. */
typedef struct TclDeviceKernel {
  const char* domain;
  const char* op;
  const char* variant;
  const char* types;
  TclDeviceText text;
} TclDeviceKernel;

/* A tile as GPUs run it: PTX in braces for one element, in which ^0, ^1 ... stand for the registers
   of its operands and attributes (doubles), ^r for that of the result, and ~ for a number that
   makes inner names unique. Registers have 64 bits for types of 64 bits, else 32. */
typedef struct TclDeviceTile {
  const char* domain;
  const char* op;
  const char* types; /* as in TclTile */
  int64_t offset;    /* in the text of all tiles */
  int64_t bytes;
  const int16_t* functions; /* that it calls, and those that these need, ascending; -1 ends them */
} TclDeviceTile;

/* A function of libm, or what such functions need: PTX that stands before what calls it, and behind
   those of lower numbers that it needs itself. */
typedef struct TclDeviceFunction {
  const char* name;
  int64_t offset; /* in the text of all tiles */
  int64_t bytes;
} TclDeviceFunction;

/* A file of kernels/cuda as PTX, by its name without suffix. */
typedef struct TclDeviceModule {
  const char* name;
  TclDeviceText text;
} TclDeviceModule;

typedef struct TclDeviceLibrary {
  const char* text;
  const TclDeviceKernel* kernels;
  int64_t n_kernels;
  TclDeviceText tile_text; /* of all tiles and functions */
  const TclDeviceTile* tiles;
  int64_t n_tiles;
  const TclDeviceFunction* functions; /* none where the build had no NVRTC */
  int64_t n_functions;
  const TclDeviceModule* modules; /* none where the build had no NVRTC */
  int64_t n_modules;
} TclDeviceLibrary;

/* What is compiled into libtiercel for GPUs (generated by kernels/build.py). */
const TclDeviceLibrary* tcl_builtin_device(void);

#ifdef __cplusplus
}
#endif
#endif
