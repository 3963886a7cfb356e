// Parses ONNX messages.
#include "ir/onnx_proto.h"

#include "base/error.h"
#include "ir/long_list.h"

namespace tiercel::proto {

namespace {

// AttributeProto.AttributeType
enum Kind {
  kFloat = 1,
  kInt,
  kString,
  kTensor,
  kGraph,
  kFloats,
  kInts,
  kStrings,
  kTensors,
  kGraphs,
  kSparse,
  kSparses,
  kType,
  kTypes
};

Graph parse_graph(WireReader message, const Source& source);

std::pair<std::string, int64_t> parse_opset(WireReader m) {
  std::pair<std::string, int64_t> opset{"", 1};
  while (m.next()) {
    if (m.field() == 1) {
      opset.first = m.text();
    } else if (m.field() == 2) {
      opset.second = m.integer();
    } else {
      m.skip();
    }
  }
  if (opset.first == "ai.onnx") opset.first.clear();
  return opset;
}

std::shared_ptr<SparseTensor> parse_sparse(WireReader m, const Source& source, std::string* name) {
  auto sparse = std::make_shared<SparseTensor>();
  std::vector<int64_t> dims;
  while (m.next()) {
    if (m.field() == 1) {
      sparse->values = parse_tensor(m.message(), source, name);
    } else if (m.field() == 2) {
      sparse->indices = parse_tensor(m.message(), source, nullptr);
    } else if (m.field() == 3) {
      m.integers(dims);
    } else {
      m.skip();
    }
  }
  (void)element_count(dims);  // throws on a bad extent
  sparse->dims = std::move(dims);
  return sparse;
}

// Everything an AttributeProto may hold; `type`, or else what is there, says which part counts.
struct RawAttribute {
  int64_t type = 0;
  double f = 0;
  int64_t i = 0;
  std::string s;
  Tensor t;
  std::shared_ptr<SparseTensor> sparse;
  Type tp;
  std::vector<float> floats;
  std::vector<int64_t> ints;
  std::vector<std::string> strings;
  std::vector<Tensor> tensors;
  std::vector<Type> types;
  std::vector<std::shared_ptr<Graph>> graphs;
  int64_t guessed = 0;
};

// Fields of one value each; false when the field is none of them.
bool parse_single(WireReader& m, const Source& source, RawAttribute& raw) {
  switch (m.field()) {
    case 2:
      raw.f = m.float32();
      raw.guessed = kFloat;
      return true;
    case 3:
      raw.i = m.integer();
      raw.guessed = kInt;
      return true;
    case 4:
      raw.s = m.text();
      raw.guessed = kString;
      return true;
    case 5:
      raw.t = parse_tensor(m.message(), source, nullptr);
      raw.guessed = kTensor;
      return true;
    case 6:
      raw.graphs.push_back(std::make_shared<Graph>(parse_graph(m.message(), source)));
      raw.guessed = kGraph;
      return true;
    case 14:
      raw.tp = parse_type(m.message());
      raw.guessed = kType;
      return true;
    case 22:
      raw.sparse = parse_sparse(m.message(), source, nullptr);
      raw.guessed = kSparse;
      return true;
    default:
      return false;
  }
}

bool parse_repeated(WireReader& m, const Source& source, RawAttribute& raw) {
  switch (m.field()) {
    case 7:
      m.floats(raw.floats);
      raw.guessed = kFloats;
      return true;
    case 8:
      m.integers(raw.ints);
      raw.guessed = kInts;
      return true;
    case 9:
      raw.strings.push_back(m.text());
      raw.guessed = kStrings;
      return true;
    case 10:
      raw.tensors.push_back(parse_tensor(m.message(), source, nullptr));
      raw.guessed = kTensors;
      return true;
    case 11:
      raw.graphs.push_back(std::make_shared<Graph>(parse_graph(m.message(), source)));
      raw.guessed = kGraphs;
      return true;
    case 15:
      raw.types.push_back(parse_type(m.message()));
      raw.guessed = kTypes;
      return true;
    default:
      return false;
  }
}

void settle(Attribute& attribute, RawAttribute&& raw) {
  const int64_t kind = raw.type != 0 ? raw.type : raw.guessed;
  switch (kind) {
    case kFloat:
      attribute.value = raw.f;
      return;
    case kInt:
      attribute.value = raw.i;
      return;
    case kString:
      attribute.value = std::move(raw.s);
      return;
    case kTensor:
      attribute.value = std::move(raw.t);
      return;
    case kGraph:
    case kGraphs:
      attribute.is_graph = kind == kGraph;
      attribute.is_graphs = kind == kGraphs;
      attribute.graphs = std::move(raw.graphs);
      if (kind == kGraph && attribute.graphs.size() == 1) return;
      if (kind == kGraphs) return;
      break;
    case kFloats:
      attribute.value = std::vector<double>(raw.floats.begin(), raw.floats.end());
      return;
    case kInts:
      attribute.value = std::move(raw.ints);
      return;
    case kStrings:
      attribute.value = std::move(raw.strings);
      return;
    case kTensors:
      attribute.value = std::move(raw.tensors);
      return;
    case kSparse:
      attribute.value = std::move(raw.sparse);
      return;
    case kType:
      attribute.value = std::move(raw.tp);
      return;
    case kTypes:
      attribute.value = std::move(raw.types);
      return;
    default:
      break;
  }
  throw_error(ErrorKind::InvalidGraph, "attribute \"", attribute.name, "\" has no value of type ",
              kind);
}

Attribute parse_attribute(WireReader m, const Source& source) {
  Attribute attribute;
  attribute.list = LongList::find(m.rest(), source.owner, attribute.name);
  if (attribute.list) return attribute;
  RawAttribute raw;
  while (m.next()) {
    if (m.field() == 1) {
      attribute.name = m.text();
    } else if (m.field() == 20) {
      raw.type = m.integer();
    } else if (m.field() == 21) {
      attribute.reference = m.text();
    } else if (!parse_single(m, source, raw) && !parse_repeated(m, source, raw)) {
      m.skip();
    }
  }
  if (attribute.reference.empty()) settle(attribute, std::move(raw));
  return attribute;
}

Node parse_node(WireReader m, const Source& source) {
  Node node;
  while (m.next()) {
    switch (m.field()) {
      case 1:
        node.inputs.push_back(m.text());
        break;
      case 2:
        node.outputs.push_back(m.text());
        break;
      case 3:
        node.name = m.text();
        break;
      case 4:
        node.op_type = m.text();
        break;
      case 5:
        node.attributes.push_back(parse_attribute(m.message(), source));
        break;
      case 7:
        node.domain = m.text();
        break;
      case 8:
        node.overload = m.text();
        break;
      default:
        m.skip();
    }
  }
  if (node.domain == "ai.onnx") node.domain.clear();
  return node;
}

Graph parse_graph(WireReader m, const Source& source) {
  Graph graph;
  while (m.next()) {
    std::string name;
    switch (m.field()) {
      case 1:
        graph.nodes.push_back(parse_node(m.message(), source));
        break;
      case 2:
        graph.name = m.text();
        break;
      case 5: {
        Tensor tensor = parse_tensor(m.message(), source, &name);
        graph.initializers.emplace_back(std::move(name), std::move(tensor));
        break;
      }
      case 10:
        graph.doc = m.text();
        break;
      case 11:
        graph.inputs.push_back(parse_value_info(m.message()));
        break;
      case 12:
        graph.outputs.push_back(parse_value_info(m.message()));
        break;
      case 13:
        graph.value_info.push_back(parse_value_info(m.message()));
        break;
      case 15: {
        auto sparse = parse_sparse(m.message(), source, &name);
        graph.sparse_initializers.emplace_back(std::move(name), std::move(sparse));
        break;
      }
      default:
        m.skip();
    }
  }
  return graph;
}

Function parse_function(WireReader m, const Source& source) {
  Function function;
  while (m.next()) {
    switch (m.field()) {
      case 1:
        function.name = m.text();
        break;
      case 4:
        function.inputs.push_back(m.text());
        break;
      case 5:
        function.outputs.push_back(m.text());
        break;
      case 6:
        function.attributes.push_back(m.text());
        break;
      case 7:
        function.nodes.push_back(parse_node(m.message(), source));
        break;
      case 9:
        function.opset_imports.insert(parse_opset(m.message()));
        break;
      case 10:
        function.domain = m.text();
        break;
      case 11:
        function.defaults.push_back(parse_attribute(m.message(), source));
        break;
      case 13:
        function.overload = m.text();
        break;
      default:
        m.skip();
    }
  }
  return function;
}

}  // namespace

Model parse_model(Bytes bytes, const Source& source) {
  Model model;
  bool has_graph = false;
  WireReader m(bytes);
  while (m.next()) {
    switch (m.field()) {
      case 1:
        model.ir_version = m.integer();
        break;
      case 2:
        model.producer_name = m.text();
        break;
      case 3:
        model.producer_version = m.text();
        break;
      case 4:
        model.domain = m.text();
        break;
      case 5:
        model.model_version = m.integer();
        break;
      case 6:
        model.doc = m.text();
        break;
      case 7:
        model.graph = parse_graph(m.message(), source);
        has_graph = true;
        break;
      case 8:
        model.opset_imports.insert(parse_opset(m.message()));
        break;
      case 14:
        model.metadata.push_back(parse_entry(m.message()));
        break;
      case 25:
        model.functions.push_back(parse_function(m.message(), source));
        break;
      default:
        m.skip();
    }
  }
  if (!has_graph) {
    throw_error(ErrorKind::InvalidProtobuf,
                "Protobuf parsing failed: the bytes hold no graph; they are no ONNX model");
  }
  return model;
}

}  // namespace tiercel::proto
