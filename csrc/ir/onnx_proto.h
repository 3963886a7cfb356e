// ONNX messages as plain structures: what the file says, before names become values.
#pragma once
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "ir/attribute.h"
#include "ir/external_data.h"
#include "ir/wire.h"

namespace tiercel::proto {

struct Graph;

struct Attribute {
  std::string name;
  std::string reference;  // of a function's attribute; then there is no value
  tiercel::Attribute value;
  std::shared_ptr<const LongList> list;        // instead of `value`, when it is long
  std::vector<std::shared_ptr<Graph>> graphs;  // of kinds graph and graphs
  bool is_graph = false;
  bool is_graphs = false;
};

struct Node {
  std::vector<std::string> inputs, outputs;
  std::string name, op_type, domain, overload;
  std::vector<Attribute> attributes;
};

struct ValueInfo {
  std::string name;
  Type type;
  std::vector<std::string> denotations;  // of a tensor's dims: "DATA_BATCH" and so on; may be ""
};

struct Graph {
  std::string name, doc;
  std::vector<Node> nodes;
  std::vector<std::pair<std::string, Tensor>> initializers;
  std::vector<std::pair<std::string, std::shared_ptr<SparseTensor>>> sparse_initializers;
  std::vector<ValueInfo> inputs, outputs, value_info;
};

struct Function {
  std::string name, domain, overload;
  std::vector<std::string> inputs, outputs, attributes;
  std::vector<Attribute> defaults;
  std::vector<Node> nodes;
  std::map<std::string, int64_t> opset_imports;
};

struct Model {
  int64_t ir_version = 0, model_version = 0;
  std::string producer_name, producer_version, domain, doc;
  std::map<std::string, int64_t> opset_imports;
  std::vector<std::pair<std::string, std::string>> metadata;
  Graph graph;
  std::vector<Function> functions;
};

// Where tensor bytes live: the message's own memory, and the folder of external files ("": none
// allowed).
struct Source {
  std::shared_ptr<void> owner;
  std::string folder;
  const ExternalSources* external = nullptr;
};

// Throws Error(InvalidProtobuf or InvalidGraph) that says what is wrong.
[[nodiscard]] Model parse_model(Bytes bytes, const Source& source);
// A StringStringEntryProto.
[[nodiscard]] std::pair<std::string, std::string> parse_entry(WireReader message);
[[nodiscard]] Type parse_type(WireReader message);
[[nodiscard]] ValueInfo parse_value_info(WireReader message);
// One TensorProto; its raw data is not copied where its alignment allows.
[[nodiscard]] Tensor parse_tensor(WireReader message, const Source& source, std::string* name);

}  // namespace tiercel::proto
