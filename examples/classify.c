/* Classifies one input with an ONNX model: prints the classes of the highest scores.
 *
 * cc -std=c11 classify.c $(pkg-config --cflags --libs tiercel) -o classify
 * ./classify [--provider CUDAExecutionProvider] model.onnx [input.raw [labels.txt]]
 *
 * input.raw holds the elements of the model's first input, row-major, in its own type; without it
 * the input is zeros. labels.txt has one name per line. Extents that the model leaves open are 1.
 * Nodes that a provider cannot run are run by the CPU.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tiercel/tiercel.h"

enum { MAX_RANK = 8, TOP = 5, MAX_LABEL = 128 };

static void check(TclStatus status, const char* what) {
  if (status == TCL_SUCCESS) return;
  fprintf(stderr, "%s: %s: %s\n", what, tcl_status_name(status), tcl_error_message());
  exit(1);
}

/* A tensor of the port's type and shape: zeros. */
static TclValue* make_input(const TclPort* port) {
  TclKind kind;
  TclDType dtype;
  int64_t rank;
  int64_t dims[MAX_RANK];
  TclValue* value = NULL;
  check(tcl_port_kind(port, &kind), "input");
  check(tcl_port_dtype(port, &dtype), "input");
  check(tcl_port_rank(port, &rank), "input");
  if (kind != TCL_KIND_TENSOR || rank < 0 || rank > MAX_RANK) {
    fprintf(stderr, "input: expected a tensor of at most %d dimensions\n", MAX_RANK);
    exit(1);
  }
  for (int64_t axis = 0; axis < rank; ++axis) {
    check(tcl_port_extent(port, axis, &dims[axis], NULL), "input");
    if (dims[axis] < 0) dims[axis] = 1;
  }
  check(tcl_value_tensor(dtype, dims, (size_t)rank, &value), "input");
  return value;
}

static void read_input(TclValue* value, const char* path) {
  TclDType dtype;
  int64_t count;
  void* data;
  check(tcl_value_dtype(value, &dtype), "input");
  check(tcl_value_count(value, &count), "input");
  check(tcl_value_data(value, &data), "input");
  const size_t bytes = (size_t)tcl_dtype_bytes(dtype, count);
  FILE* file = fopen(path, "rb");
  if (file == NULL || fread(data, 1, bytes, file) != bytes || fgetc(file) != EOF) {
    fprintf(stderr, "%s: expected a file of %zu bytes\n", path, bytes);
    exit(1);
  }
  fclose(file);
}

/* Line `index` of a file, or "" when there is none. */
static void read_label(const char* path, int64_t index, char label[MAX_LABEL]) {
  FILE* file = path != NULL ? fopen(path, "r") : NULL;
  label[0] = '\0';
  if (file == NULL) return;
  for (int64_t line = 0; line <= index; ++line) {
    if (fgets(label, MAX_LABEL, file) == NULL) {
      label[0] = '\0';
      break;
    }
  }
  label[strcspn(label, "\n")] = '\0';
  fclose(file);
}

static void print_top(const TclValue* output, const char* labels) {
  TclDType dtype;
  int64_t count;
  void* data;
  check(tcl_value_dtype(output, &dtype), "output");
  check(tcl_value_count(output, &count), "output");
  if (dtype != TCL_DTYPE_FLOAT) {
    fprintf(stderr, "output: expected float scores, got element type %d\n", (int)dtype);
    exit(1);
  }
  check(tcl_value_data(output, &data), "output");
  const float* scores = data;
  int64_t taken[TOP];
  for (int64_t place = 0; place < TOP && place < count; ++place) {
    int64_t best = -1;
    for (int64_t i = 0; i < count; ++i) {
      int used = 0;
      for (int64_t j = 0; j < place; ++j) used = used || taken[j] == i;
      if (!used && (best < 0 || scores[i] > scores[best])) best = i;
    }
    taken[place] = best;
    char label[MAX_LABEL];
    read_label(labels, best, label);
    printf("%d. class %lld score %.4f%s%s\n", (int)place + 1, (long long)best, (double)scores[best],
           label[0] != '\0' ? " " : "", label);
  }
}

/* Options for a provider by its name; without one, NULL: all that are available. */
static TclSessionOptions* make_options(const char* provider) {
  TclSessionOptions* options = NULL;
  if (provider == NULL) return NULL;
  check(tcl_session_options_create(&options), "options");
  check(tcl_session_options_add_provider(options, provider, NULL, NULL, 0), "options");
  return options;
}

int main(int argc, char** argv) {
  const char* program = argv[0];
  const char* provider = NULL;
  if (argc > 2 && strcmp(argv[1], "--provider") == 0) {
    provider = argv[2];
    argc -= 2;
    argv += 2;
  }
  if (argc < 2 || argc > 4) {
    fprintf(stderr, "usage: %s [--provider NAME] model.onnx [input.raw [labels.txt]]\n", program);
    return 2;
  }
  TclSession* session = NULL;
  const TclPort* port = NULL;
  const char* input_name = NULL;
  const char* output_name = NULL;
  TclSessionOptions* options = make_options(provider);
  check(tcl_session_load(argv[1], options, &session), "load");
  tcl_session_options_release(options);
  check(tcl_session_port(session, TCL_OUTPUT, 0, &port), "output");
  check(tcl_port_name(port, &output_name), "output");
  check(tcl_session_port(session, TCL_INPUT, 0, &port), "input");
  check(tcl_port_name(port, &input_name), "input");
  TclValue* input = make_input(port);
  if (argc > 2) read_input(input, argv[2]);
  const TclValue* inputs[] = {input};
  TclValue* output = NULL;
  check(tcl_session_run(session, NULL, &input_name, inputs, 1, &output_name, &output, 1), "run");
  print_top(output, argc > 3 ? argv[3] : NULL);
  tcl_value_release(output);
  tcl_value_release(input);
  tcl_session_release(session);
  return 0;
}
