/* The public C API: load a model, look at it, run it.
 *
 * Plain C11, no Python in the process. Handles are opaque; nothing here changes its meaning while
 * TCL_API_VERSION stays the same, functions are only added.
 *
 * Errors. A function that can fail returns a TclStatus: TCL_SUCCESS (0) or the kind of the error.
 * tcl_error_message() and tcl_error_status() tell of the last failure on the calling thread; calls
 * that succeed leave them alone. A function that fails gives no handle: *out is then NULL (numbers
 * and texts that it would have given are left alone). A NULL argument where a value is needed is
 * TCL_ERROR_INVALID_ARGUMENT.
 *
 * Ownership. What comes out of a parameter called `out` is the caller's, who gives it to the
 * release function of its type; releasing NULL does nothing. Everything else that a function points
 * at (names, dims, data, ports) belongs to the handle it was asked of and lives as long as that.
 * Texts are UTF-8 and end with a NUL byte. Memory that a function reads (names, dims, options,
 * feeds) is the caller's, and is not needed after the call unless the function says so.
 *
 * Threads. Every function may be called from any thread. One TclSession may be run and looked at by
 * many threads at once; one TclValue may be read by many threads at once. Other than that, a handle
 * is used by one thread at a time. Releasing needs that no other thread still uses the handle;
 * values that a run gave live on when the session is released.
 *
 * Units. Sizes in memory are bytes, times are seconds, extents are elements.
 */
#ifndef TIERCEL_TIERCEL_H
#define TIERCEL_TIERCEL_H
#include <stddef.h>
#include <stdint.h>
#ifdef __cplusplus
extern "C" {
#endif

#define TCL_API_VERSION 1
#define TCL_API __attribute__((visibility("default")))

/* Kinds of errors; numbers and names are ONNX Runtime's, and 15 and 16 are tiercel's. */
typedef int32_t TclStatus;
enum {
  TCL_SUCCESS = 0,
  TCL_ERROR_FAIL = 1,
  TCL_ERROR_INVALID_ARGUMENT = 2,
  TCL_ERROR_NO_SUCH_FILE = 3,
  TCL_ERROR_NO_MODEL = 4,
  TCL_ERROR_ENGINE = 5,
  TCL_ERROR_RUNTIME = 6,
  TCL_ERROR_INVALID_PROTOBUF = 7,
  TCL_ERROR_MODEL_LOADED = 8,
  TCL_ERROR_NOT_IMPLEMENTED = 9,
  TCL_ERROR_INVALID_GRAPH = 10,
  TCL_ERROR_PROVIDER = 11,
  TCL_ERROR_LOAD_CANCELED = 12,
  TCL_ERROR_NOT_FOUND = 14,
  TCL_ERROR_TIMEOUT = 15,
  TCL_ERROR_OUT_OF_MEMORY = 16
};

/* Element types; numbers are those of onnx.TensorProto.DataType. Types below 8 bits are packed, low
   bits first. */
typedef int32_t TclDType;
enum {
  TCL_DTYPE_UNDEFINED = 0,
  TCL_DTYPE_FLOAT = 1,
  TCL_DTYPE_UINT8 = 2,
  TCL_DTYPE_INT8 = 3,
  TCL_DTYPE_UINT16 = 4,
  TCL_DTYPE_INT16 = 5,
  TCL_DTYPE_INT32 = 6,
  TCL_DTYPE_INT64 = 7,
  TCL_DTYPE_STRING = 8,
  TCL_DTYPE_BOOL = 9, /* one byte: 0 or 1 */
  TCL_DTYPE_FLOAT16 = 10,
  TCL_DTYPE_DOUBLE = 11,
  TCL_DTYPE_UINT32 = 12,
  TCL_DTYPE_UINT64 = 13,
  TCL_DTYPE_COMPLEX64 = 14,
  TCL_DTYPE_COMPLEX128 = 15,
  TCL_DTYPE_BFLOAT16 = 16,
  TCL_DTYPE_FLOAT8E4M3FN = 17,
  TCL_DTYPE_FLOAT8E4M3FNUZ = 18,
  TCL_DTYPE_FLOAT8E5M2 = 19,
  TCL_DTYPE_FLOAT8E5M2FNUZ = 20,
  TCL_DTYPE_UINT4 = 21,
  TCL_DTYPE_INT4 = 22,
  TCL_DTYPE_FLOAT4E2M1 = 23,
  TCL_DTYPE_FLOAT8E8M0 = 24,
  TCL_DTYPE_UINT2 = 25,
  TCL_DTYPE_INT2 = 26,
  TCL_DTYPE_FLOAT6E2M3 = 27,
  TCL_DTYPE_FLOAT6E3M2 = 28
};

/* What a value is, or what a port takes or gives. */
typedef int32_t TclKind;
enum {
  TCL_KIND_NONE = 0, /* of a value: an optional without content; of a port: not known */
  TCL_KIND_TENSOR = 1,
  TCL_KIND_SEQUENCE = 2,
  TCL_KIND_OPTIONAL = 3, /* of ports alone */
  TCL_KIND_MAP = 4,
  TCL_KIND_SPARSE_TENSOR = 5 /* can be given on, not looked into */
};

typedef int32_t TclRole;
enum {
  TCL_INPUT = 0,
  TCL_OUTPUT = 1,
  TCL_OVERRIDABLE = 2 /* an initialiser that a run may replace */
};

typedef int32_t TclOptimization;
enum {
  TCL_OPTIMIZE_NONE = 0,
  TCL_OPTIMIZE_BASIC = 1,
  TCL_OPTIMIZE_EXTENDED = 2,
  TCL_OPTIMIZE_LAYOUT = 3,
  TCL_OPTIMIZE_ALL = 99
};

typedef int32_t TclModelText;
enum {
  TCL_MODEL_PRODUCER_NAME = 0,
  TCL_MODEL_PRODUCER_VERSION = 1,
  TCL_MODEL_DOMAIN = 2,
  TCL_MODEL_DESCRIPTION = 3,
  TCL_MODEL_GRAPH_NAME = 4,
  TCL_MODEL_GRAPH_DESCRIPTION = 5
};

typedef struct TclSessionOptions TclSessionOptions;
typedef struct TclRunOptions TclRunOptions;
typedef struct TclSession TclSession;
typedef struct TclPort TclPort;
typedef struct TclValue TclValue;

/* Called once, from any thread, when the library needs memory that it borrowed no longer. */
typedef void (*TclReleaseFn)(void* context);

/* The library. "0.1.0"; the TCL_API_VERSION it was built with; the last failure on this thread
   ("" and TCL_SUCCESS before the first), valid until the next failure on this thread; the name of a
   status ("INVALID_ARGUMENT"); bytes of `count` elements (-1: no such type, negative count, too
   large, or strings). */
TCL_API const char* tcl_version(void);
TCL_API int32_t tcl_api_version(void);
TCL_API const char* tcl_error_message(void);
TCL_API TclStatus tcl_error_status(void);
TCL_API const char* tcl_status_name(TclStatus status);
TCL_API int64_t tcl_dtype_bytes(TclDType dtype, int64_t count);
/* Execution providers that sessions can use, most preferred first. */
TCL_API size_t tcl_available_provider_count(void);
TCL_API TclStatus tcl_available_provider(size_t index, const char** name);
/* For texts that came out of a parameter called `out`. */
TCL_API void tcl_text_release(char* text);

/* Session options: read when a session is loaded, and not needed afterwards. */
TCL_API TclStatus tcl_session_options_create(TclSessionOptions** out);
TCL_API void tcl_session_options_release(TclSessionOptions* options);
/* Threads of one run, the caller's among them; 0 (the default): as many as the process may use. */
TCL_API TclStatus tcl_session_options_set_threads(TclSessionOptions* options, int32_t threads);
/* Default: TCL_OPTIMIZE_ALL. */
TCL_API TclStatus tcl_session_options_set_optimization(TclSessionOptions* options,
                                                       TclOptimization level);
/* Leaves out one pass of the pipeline, by the name that tcl_session_explain() prints. */
TCL_API TclStatus tcl_session_options_disable_pass(TclSessionOptions* options, const char* name);
/* Appends a provider with `count` options; without any, all available ones are used. A provider
   that is not there makes loading fail with TCL_ERROR_PROVIDER. */
TCL_API TclStatus tcl_session_options_add_provider(TclSessionOptions* options, const char* name,
                                                   const char* const* keys,
                                                   const char* const* values, size_t count);
/* Sets a configuration entry by ONNX Runtime's key; keys that the library does not know are kept
   and change nothing. */
TCL_API TclStatus tcl_session_options_set_config(TclSessionOptions* options, const char* key,
                                                 const char* value);
/* Gives the symbolic extent `symbol` of the model's inputs a value. */
TCL_API TclStatus tcl_session_options_set_extent(TclSessionOptions* options, const char* symbol,
                                                 int64_t extent);
/* Replaces an initialiser by a tensor of the same type and shape, which sessions then share. */
TCL_API TclStatus tcl_session_options_set_initializer(TclSessionOptions* options, const char* name,
                                                      const TclValue* tensor);
/* Records every step of every run, see tcl_session_end_profiling(). The file's name begins with
   `prefix`. */
TCL_API TclStatus tcl_session_options_enable_profiling(TclSessionOptions* options,
                                                       const char* prefix);

/* Sessions. `options` may be NULL. Weights stay in the mapped file, which must not be changed while
   the session or a value that it gave lives. External data must lie in the folder of the file. */
TCL_API TclStatus tcl_session_load(const char* path, const TclSessionOptions* options,
                                   TclSession** out);
/* Loads from memory, in which weights are used in place: it must not change or go away before
   `release(context)` is called, which happens when the session and every value that it gave are
   released, or at once when loading fails. Without `release` (NULL) the library copies the bytes.
   `folder`: where external data lies; NULL: the model may have none. */
TCL_API TclStatus tcl_session_load_memory(const void* data, size_t bytes, const char* folder,
                                          TclReleaseFn release, void* context,
                                          const TclSessionOptions* options, TclSession** out);
TCL_API void tcl_session_release(TclSession* session);

/* Inputs, outputs and overridable initialisers, in the model's order. */
TCL_API TclStatus tcl_session_port_count(const TclSession* session, TclRole role, size_t* count);
TCL_API TclStatus tcl_session_port(const TclSession* session, TclRole role, size_t index,
                                   const TclPort** port);
TCL_API TclStatus tcl_port_name(const TclPort* port, const char** name);
TCL_API TclStatus tcl_port_kind(const TclPort* port, TclKind* kind);
/* "tensor(float)", "seq(tensor(int64))", "map(string,tensor(float))" … */
TCL_API TclStatus tcl_port_type(const TclPort* port, const char** text);
/* Element type of the tensor, or of the tensors that a sequence or an optional holds; key type of a
   map. */
TCL_API TclStatus tcl_port_dtype(const TclPort* port, TclDType* dtype);
/* -1: not known, or no tensor. */
TCL_API TclStatus tcl_port_rank(const TclPort* port, int64_t* rank);
/* *extent is -1 when it is not fixed; *symbol is then its name, or "" without one. `symbol` may be
   NULL. */
TCL_API TclStatus tcl_port_extent(const TclPort* port, int64_t axis, int64_t* extent,
                                  const char** symbol);

/* The model. */
TCL_API TclStatus tcl_session_model_text(const TclSession* session, TclModelText which,
                                         const char** text);
TCL_API TclStatus tcl_session_model_version(const TclSession* session, int64_t* model_version,
                                            int64_t* ir_version);
/* Version of the operator set `domain` ("": ONNX's own); TCL_ERROR_NOT_FOUND when the model imports
   none. */
TCL_API TclStatus tcl_session_opset(const TclSession* session, const char* domain,
                                    int64_t* version);
TCL_API TclStatus tcl_session_metadata_count(const TclSession* session, size_t* count);
TCL_API TclStatus tcl_session_metadata(const TclSession* session, size_t index, const char** key,
                                       const char** value);
/* The providers of this session, in order of preference. */
TCL_API TclStatus tcl_session_provider_count(const TclSession* session, size_t* count);
TCL_API TclStatus tcl_session_provider(const TclSession* session, size_t index, const char** name);
/* Where every node runs and why, passes with times, plan and memory: text for people. */
TCL_API TclStatus tcl_session_explain(const TclSession* session, char** out);
/* Bytes of the arena of the plan made last, the lower bound of any plan, and bytes of weights. Any
   of the three may be NULL. */
TCL_API TclStatus tcl_session_memory(const TclSession* session, int64_t* arena,
                                     int64_t* lower_bound, int64_t* weights);
/* Gives memory that no run uses back to the system: arenas of idle runs, blocks kept for tensors to
   come, free memory of GPUs. The next run is slower. */
TCL_API TclStatus tcl_session_release_memory(TclSession* session);
/* Writes what was recorded as Chrome-trace JSON and gives the path; "" when profiling was off. */
TCL_API TclStatus tcl_session_end_profiling(TclSession* session, char** out);

/* Run options: may serve many runs, also at once. */
TCL_API TclStatus tcl_run_options_create(TclRunOptions** out);
TCL_API void tcl_run_options_release(TclRunOptions* options);
/* Seconds after its start at which a run ends with TCL_ERROR_TIMEOUT, between two steps; 0: never
   (the default). */
TCL_API TclStatus tcl_run_options_set_timeout(TclRunOptions* options, double seconds);
/* 1: runs with these options end between two steps with TCL_ERROR_FAIL, and new ones do not start.
   0: they run (the default). May be called while they run. */
TCL_API TclStatus tcl_run_options_set_terminate(TclRunOptions* options, int32_t terminate);

/* Runs the model. `input_names` NULL: `inputs` are the model's inputs in order. An input may be
   absent only where the port is optional or an overridable initialiser. `output_names` NULL: all
   outputs in order, and `output_count` is their number. outputs[i] is NULL before the call: the
   library makes the value, which the caller then releases; or it is a tensor of the caller's of the
   output's own type and shape, which is written over: it must not overlap an input. When a run
   fails, outputs that were NULL are NULL and the content of others is undefined. `options` may be
   NULL. */
TCL_API TclStatus tcl_session_run(TclSession* session, const TclRunOptions* options,
                                  const char* const* input_names, const TclValue* const* inputs,
                                  size_t input_count, const char* const* output_names,
                                  TclValue** outputs, size_t output_count);

/* Values. A tensor over the caller's memory, dense and row-major, `bytes` long (at least what the
   extents need) and aligned to its elements. The memory must stay until `release(context)` is
   called, which happens at once when the function fails; without `release` (NULL) until the value,
   sequences made of it, and options and values that hold it, are released. */
TCL_API TclStatus tcl_value_wrap(TclDType dtype, const int64_t* dims, size_t rank, void* data,
                                 size_t bytes, TclReleaseFn release, void* context, TclValue** out);
/* A tensor in memory of the library, 64-byte aligned, zeros or empty strings. */
TCL_API TclStatus tcl_value_tensor(TclDType dtype, const int64_t* dims, size_t rank,
                                   TclValue** out);
/* A tensor of copies of texts in row-major order; `lengths` in bytes, or NULL when all end with a
   NUL byte. */
TCL_API TclStatus tcl_value_strings(const int64_t* dims, size_t rank, const char* const* texts,
                                    const size_t* lengths, TclValue** out);
/* A sequence of values, which it shares with their handles. */
TCL_API TclStatus tcl_value_sequence(const TclValue* const* elements, size_t count, TclValue** out);
/* A map from a vector of int64 or strings to a vector of the same length. */
TCL_API TclStatus tcl_value_map(const TclValue* keys, const TclValue* values, TclValue** out);
/* An optional without content. */
TCL_API TclStatus tcl_value_none(TclValue** out);
TCL_API void tcl_value_release(TclValue* value);

TCL_API TclStatus tcl_value_kind(const TclValue* value, TclKind* kind);
/* Of tensors; others are TCL_ERROR_INVALID_ARGUMENT. `count`: number of elements. */
TCL_API TclStatus tcl_value_dtype(const TclValue* value, TclDType* dtype);
TCL_API TclStatus tcl_value_rank(const TclValue* value, size_t* rank);
TCL_API TclStatus tcl_value_dims(const TclValue* value, const int64_t** dims);
TCL_API TclStatus tcl_value_count(const TclValue* value, int64_t* count);
/* The elements, not of strings: an address in the memory that the tensor is in. */
TCL_API TclStatus tcl_value_data(const TclValue* value, void** data);
/* One string; `length` (may be NULL) in bytes without the closing NUL. */
TCL_API TclStatus tcl_value_string(const TclValue* value, int64_t index, const char** text,
                                   size_t* length);
/* Of sequences. */
TCL_API TclStatus tcl_value_length(const TclValue* value, size_t* length);
TCL_API TclStatus tcl_value_element(const TclValue* value, size_t index, TclValue** out);
/* Of maps: two vectors of equal length, new handles both. */
TCL_API TclStatus tcl_value_entries(const TclValue* value, TclValue** out_keys,
                                    TclValue** out_values);

/* Tensors in the memory of a device: "cuda" and the GPU's number, or "cpu" and 0. As an input such
   a tensor is read, as an output written where it is; runs are over when they return. Errors of the
   driver are TCL_ERROR_EP_FAIL. A tensor of zeros: */
TCL_API TclStatus tcl_value_tensor_on(const char* device, int32_t number, TclDType dtype,
                                      const int64_t* dims, size_t rank, TclValue** out);
/* Over the caller's memory there, as tcl_value_wrap. Work of the caller on it must be done before a
   run begins. */
TCL_API TclStatus tcl_value_wrap_on(const char* device, int32_t number, TclDType dtype,
                                    const int64_t* dims, size_t rank, void* data, size_t bytes,
                                    TclReleaseFn release, void* context, TclValue** out);
/* Where a tensor is; the text stays. `number` may be NULL. */
TCL_API TclStatus tcl_value_device(const TclValue* value, const char** device, int32_t* number);
/* Copies the elements of a tensor into another of the same type and shape, wherever both are, and
   waits for it. */
TCL_API TclStatus tcl_value_copy(const TclValue* from, TclValue* to);

#ifdef __cplusplus
}
#endif
#endif
