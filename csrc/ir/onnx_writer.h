// Writes a graph as an ONNX model file, with large weights beside it when asked.
#pragma once
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "ir/graph.h"

namespace tiercel {

struct WriteOptions {
  std::map<std::string, int64_t> opset_imports;
  std::vector<std::string> outputs;  // names of the graph's outputs; empty: those of its values
  std::string external_file;         // name, beside the model, of the file of weights; "": none
  int64_t external_bytes = 1024;     // weights of at least this size go there
};

// `model` gives the metadata and the graph. Throws Error(Fail) when a file cannot be written.
void write_model(const Model& model, const std::string& path, const WriteOptions& options);

}  // namespace tiercel
