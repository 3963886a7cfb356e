// Compiles elementwise nodes, Pointwise bodies, epilogues and prologues to programs over tiles.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "ops/epilogue.h"
#include "ops/op_def.h"
#include "runtime/pointwise.h"
#include "runtime/tiles.h"

namespace tiercel {

namespace {

// What is compiled: nodes in order between input and output values of one graph.
struct ProgramBody {
  const Graph& graph;
  std::vector<const Node*> nodes;
  std::vector<ValueId> inputs;
  std::vector<ValueId> outputs;
  bool of_sums = false;  // input 0 is not rounded to its type yet
};

// A register before it has a place.
struct Virtual {
  PointwiseProgram::Register::Kind kind;
  int index;  // input or constant number; -1 for a temporary
  DType dtype;
};

struct Instruction {
  const TclTile* tile;
  int out;
  std::array<int, 3> in{-1, -1, -1};
  int params;
};

std::string types_text(std::span<const DType> operands, DType result) {
  std::string text;
  for (DType dtype : operands) {
    if (!text.empty()) text += ',';
    text += dtype_name(dtype);
  }
  return text.append("->").append(dtype_name(result));
}

std::string refusal(const Node& node, std::string_view why) {
  return concat(node.op_type, ": ", std::string(why));
}

struct TileName {
  std::string_view domain, op;
};

// A choice that would cost both ways in one kernel has a kernel for each.
TileName tile_name(const Node& node) {
  const auto* approximate = node.attributes.get<std::string>("approximate");
  if (node.op_type == "Gelu" && approximate && *approximate == "tanh")
    return {"tiercel", "GeluTanh"};
  return {node.domain, node.op_type};
}

class Compiler {
 public:
  explicit Compiler(const ProgramBody& body) : body_(body) {}

  // nullopt when `program` is complete; else why it cannot be.
  std::optional<std::string> run() {
    if (body_.inputs.size() + body_.outputs.size() > kPointwiseOperands) {
      return concat("more than ", kPointwiseOperands, " operands");
    }
    for (size_t i = 0; i < body_.inputs.size(); ++i) {
      const ValueId in = body_.inputs[i];
      if (in == kNone) continue;
      const DType dtype = body_.graph.value(in).type.dtype;
      if (!body_.graph.value(in).type.is_tensor()) return "an operand is not a tensor";
      if (dtype_bits(dtype) < 8 && body_.inputs.size() > 1) {
        return concat("broadcasts packed elements of ", std::string(dtype_name(dtype)));
      }
      const bool sums = i == 0 && body_.of_sums;
      const int made = add({Kind::Input, static_cast<int>(i), sums ? widened(dtype) : dtype});
      if (!register_of_.contains(in)) register_of_[in] = made;
      input_registers_.push_back(made);
    }
    for (const Node* node : body_.nodes) {
      if (std::optional<std::string> why = emit_node(*node)) return why;
    }
    for (ValueId out : body_.outputs) {
      if (out == kNone) return "an output is not wanted";
      const DType dtype = body_.graph.value(out).type.dtype;
      if (dtype_bits(dtype) < 8 && body_.inputs.size() > 1) {
        return concat("broadcasts to packed elements of ", std::string(dtype_name(dtype)));
      }
      const std::optional<int> made = converted(out, dtype);
      if (!made) return concat("no Cast to ", body_.graph.value(out).type.text());
      output_registers_.push_back(*made);
    }
    return std::nullopt;
  }

  std::shared_ptr<PointwiseProgram> program();
  std::optional<std::string> fits();

 private:
  using Kind = PointwiseProgram::Register::Kind;

  int add(Virtual v) {
    virtuals_.push_back(v);
    return static_cast<int>(virtuals_.size()) - 1;
  }

  int add_constant(const void* value, DType dtype) {
    const auto bytes = static_cast<size_t>(dtype_bits(dtype) / 8);
    std::vector<std::byte> tile(bytes * kPointwiseTile);
    for (size_t i = 0; i < kPointwiseTile; ++i) std::memcpy(tile.data() + i * bytes, value, bytes);
    constants_.push_back(std::move(tile));
    return add({Kind::Constant, static_cast<int>(constants_.size()) - 1, dtype});
  }

  // Register of a value as it was made; nullopt for a value from nowhere.
  std::optional<int> find(ValueId id) {
    if (const auto it = register_of_.find(id); it != register_of_.end()) return it->second;
    const Tensor* constant = body_.graph.constant(id);
    if (!constant || constant->size() != 1 || dtype_bits(constant->dtype()) < 8)
      return std::nullopt;
    if (constant->dtype() == DType::String) return std::nullopt;
    return register_of_[id] = add_constant(constant->raw(), constant->dtype());
  }

  // Converts a register; `cast`: the Cast node whose attributes say how.
  std::optional<int> convert(int from, DType dtype, const Node* cast = nullptr);
  std::optional<int> converted(ValueId id, DType dtype) {
    const std::optional<int> found = find(id);
    if (!found) return std::nullopt;
    return convert(*found, dtype);
  }

  int add_params(const TclTile* tile, const Node* node);
  std::optional<int> emit_op(std::string_view domain, std::string_view op, const Node& node,
                             std::vector<int> operands, std::span<const DType> types, DType result);
  std::optional<int> absent_operand(const Node& node, size_t i, DType dtype);
  std::optional<std::string> emit_node(const Node& node);
  std::optional<std::string> emit_chain(const Node& node, std::string_view op);
  void place_temporaries(PointwiseProgram& program, std::vector<int>& place);

  const ProgramBody& body_;
  std::vector<Virtual> virtuals_;
  std::vector<Instruction> steps_;
  std::vector<double> params_;
  std::vector<std::vector<std::byte>> constants_;
  std::unordered_map<ValueId, int> register_of_;
  std::map<std::pair<int, DType>, int> casts_;
  std::vector<int> input_registers_, output_registers_;
};

// Position of `choice` in "a|b|c".
double tile_choice(std::string_view choices, std::string_view choice) {
  double index = 0;
  while (!choices.empty()) {
    const size_t bar = choices.find('|');
    if (choices.substr(0, bar) == choice) return index;
    if (bar == std::string_view::npos) break;
    choices.remove_prefix(bar + 1);
    ++index;
  }
  return -1;
}

double attribute_number(const Node* node, std::string_view spec) {
  const size_t colon = spec.find(':');
  const std::string_view name = spec.substr(0, colon);
  const Attribute* found = node ? node->attributes.find(name) : nullptr;
  if (!found && node && node->def) {
    const AttrDef* def = node->def->attribute(name);
    if (def && def->value) found = &*def->value;
  }
  if (!found) return name == "saturate" ? 1 : 0;
  if (const auto* i = std::get_if<int64_t>(found)) return static_cast<double>(*i);
  if (const auto* f = std::get_if<double>(found)) return *f;
  if (const auto* s = std::get_if<std::string>(found); s && colon != std::string_view::npos) {
    return tile_choice(spec.substr(colon + 1), *s);
  }
  return 0;
}

int Compiler::add_params(const TclTile* tile, const Node* node) {
  const int start = static_cast<int>(params_.size());
  for (const char* const* name = tile->attributes; name && *name; ++name) {
    params_.push_back(attribute_number(node, *name));
  }
  return start;
}

std::optional<int> Compiler::convert(int from, DType dtype, const Node* cast) {
  const DType has = virtuals_[static_cast<size_t>(from)].dtype;
  if (has == dtype) return from;
  const auto known = casts_.find({from, dtype});
  if (!cast && known != casts_.end()) return known->second;
  const TclTile* tile = find_tile("", "Cast", types_text({&has, 1}, dtype));
  if (!tile) {
    // By way of the type that one of the two computes in: exact on the way there.
    const DType way = widened(has) != has ? widened(has) : widened(dtype);
    if (way == has || way == dtype) return std::nullopt;
    const std::optional<int> between = convert(from, way);
    return between ? convert(*between, dtype, cast) : std::nullopt;
  }
  const int params = add_params(tile, cast);
  int out = -1;
  if (const Virtual& v = virtuals_[static_cast<size_t>(from)];
      v.kind == Kind::Constant && dtype_bits(dtype) >= 8) {
    int64_t made = 0;
    const std::byte* value = constants_[static_cast<size_t>(v.index)].data();
    tile->run(&made, value, nullptr, nullptr, 1, params_.data() + params);
    out = add_constant(&made, dtype);
  } else {
    out = add({Kind::Buffer, -1, dtype});
    steps_.push_back({tile, out, {from, -1, -1}, params});
  }
  if (!cast) casts_[{from, dtype}] = out;
  return out;
}

// The tile for these types, else for the widened ones; operands are converted to what it takes.
std::optional<int> Compiler::emit_op(std::string_view domain, std::string_view op, const Node& node,
                                     std::vector<int> operands, std::span<const DType> types,
                                     DType result) {
  std::vector<DType> takes(types.begin(), types.end());
  const TclTile* tile = find_tile(domain, op, types_text(takes, result));
  if (!tile) {
    std::transform(takes.begin(), takes.end(), takes.begin(), widened);
    result = widened(result);
    tile = find_tile(domain, op, types_text(takes, result));
  }
  if (!tile || operands.size() > 3) return std::nullopt;
  Instruction step{tile, -1, {-1, -1, -1}, 0};
  for (size_t i = 0; i < operands.size(); ++i) {
    const std::optional<int> ready = convert(operands[i], takes[i]);
    if (!ready) return std::nullopt;
    step.in[i] = *ready;
  }
  step.params = add_params(tile, &node);
  step.out = add({Kind::Buffer, -1, result});
  steps_.push_back(step);
  return step.out;
}

// What an absent optional operand stands for: Clip's bounds are then the type's own.
std::optional<int> Compiler::absent_operand(const Node& node, size_t i, DType dtype) {
  if (node.op_type != "Clip" || i == 0) return std::nullopt;
  std::optional<int> made;
  const auto bound = [&]<class T>(T, DType as) {
    if (widened(dtype) != as) return;
    using Limits = std::numeric_limits<T>;
    T value = i == 1 ? Limits::lowest() : Limits::max();
    if constexpr (Limits::has_infinity) value = i == 1 ? -Limits::infinity() : Limits::infinity();
    made = add_constant(&value, as);
  };
  bound(0.0F, DType::Float);
  bound(0.0, DType::Double);
  bound(int8_t{}, DType::Int8);
  bound(int16_t{}, DType::Int16);
  bound(int32_t{}, DType::Int32);
  bound(int64_t{}, DType::Int64);
  bound(uint8_t{}, DType::UInt8);
  bound(uint16_t{}, DType::UInt16);
  bound(uint32_t{}, DType::UInt32);
  bound(uint64_t{}, DType::UInt64);
  return made;
}

std::optional<std::string> Compiler::emit_node(const Node& node) {
  const ValueId out = node.outputs.empty() ? kNone : node.outputs[0];
  if (out == kNone || node.outputs.size() != 1) return refusal(node, "has not one output");
  const DType result = body_.graph.value(out).type.dtype;
  const bool variadic =
      node.def && !node.def->inputs.empty() && node.def->inputs[0].kind == Param::Variadic;
  if (variadic) return emit_chain(node, node.op_type);
  std::vector<int> operands;
  std::vector<DType> types;
  const size_t arity = std::max(node.inputs.size(), node.op_type == "Clip" ? size_t{3} : size_t{0});
  for (size_t i = 0; i < arity; ++i) {
    const bool present = i < node.inputs.size() && node.inputs[i] != kNone;
    const DType dtype = present ? body_.graph.value(node.inputs[i]).type.dtype : types.at(0);
    const std::optional<int> found =
        present ? find(node.inputs[i]) : absent_operand(node, i, dtype);
    if (!found) return refusal(node, concat("operand ", i, " is neither an input nor one element"));
    operands.push_back(*found);
    types.push_back(dtype);
  }
  const TileName name = tile_name(node);
  const std::optional<int> made =
      node.op_type == "Cast" ? convert(operands[0], result, &node)
                             : emit_op(name.domain, name.op, node, operands, types, result);
  if (!made) return refusal(node, concat("no tile kernel for ", types_text(types, result)));
  register_of_[out] = *made;
  return std::nullopt;
}

// Variadic operators fold from the left; Sum and Mean add, and Mean divides at the end.
std::optional<std::string> Compiler::emit_chain(const Node& node, std::string_view op) {
  const DType result = body_.graph.value(node.outputs[0]).type.dtype;
  const bool mean = op == "Mean";
  if (mean || op == "Sum") op = "Add";
  std::optional<int> total;
  for (ValueId in : node.inputs) {
    const std::optional<int> next = in == kNone ? std::nullopt : find(in);
    if (!next) return refusal(node, "an operand is neither an input nor one element");
    const DType types[] = {result, result};
    total = total ? emit_op("", op, node, {*total, *next}, types, result) : next;
    if (!total) return refusal(node, concat("no tile kernel for ", types_text(types, result)));
  }
  if (!total) return refusal(node, "has no operands");
  if (mean && node.inputs.size() > 1) {
    const DType types[] = {result, result};
    const auto n = static_cast<double>(node.inputs.size());
    const auto single = static_cast<float>(n);
    const int count = result == DType::Double ? add_constant(&n, DType::Double)
                                              : add_constant(&single, DType::Float);
    total = emit_op("", "Div", node, {*total, count}, types, result);
    if (!total) return refusal(node, concat("no tile kernel for ", types_text(types, result)));
  }
  register_of_[node.outputs[0]] = *total;
  return std::nullopt;
}

// Temporaries get tile buffers by linear scan; results go straight to their output where nothing
// reads input 0 (whose bytes output 0 may share) afterwards.
void Compiler::place_temporaries(PointwiseProgram& program, std::vector<int>& place) {
  std::vector<int> last_use(virtuals_.size(), -1);
  int last_read_of_first = -1;
  const int n = static_cast<int>(steps_.size());
  for (int s = 0; s < n; ++s) {
    for (int in : steps_[static_cast<size_t>(s)].in) {
      if (in < 0) continue;
      last_use[static_cast<size_t>(in)] = s;
      const Virtual& v = virtuals_[static_cast<size_t>(in)];
      if (v.kind == Kind::Input && v.index == 0) last_read_of_first = s;
    }
  }
  for (int out : output_registers_) last_use[static_cast<size_t>(out)] = n;
  std::vector<int> free;  // places of tile buffers
  const auto release = [&](int s, bool same_width, int bits) {
    for (int in : steps_[static_cast<size_t>(s)].in) {
      if (in < 0 || last_use[static_cast<size_t>(in)] != s) continue;
      if (virtuals_[static_cast<size_t>(in)].kind != Kind::Buffer) continue;
      const int at = place[static_cast<size_t>(in)];
      const PointwiseProgram::Register& reg = program.registers[static_cast<size_t>(at)];
      if (reg.kind != Kind::Buffer || (same_width && reg.bits != bits)) continue;
      free.push_back(at);
      last_use[static_cast<size_t>(in)] = -1;
    }
  };
  for (int s = 0; s < n; ++s) {
    const int out = steps_[static_cast<size_t>(s)].out;
    const auto bits = static_cast<int16_t>(dtype_bits(virtuals_[static_cast<size_t>(out)].dtype));
    const auto as_output = std::find(output_registers_.begin(), output_registers_.end(), out);
    const bool first = as_output == output_registers_.begin();
    if (as_output != output_registers_.end() && (!first || last_read_of_first <= s)) {
      const auto index = static_cast<int16_t>(as_output - output_registers_.begin());
      place[static_cast<size_t>(out)] = static_cast<int>(program.registers.size());
      program.registers.push_back({Kind::Output, index, bits});
      release(s, false, bits);
      continue;
    }
    release(s, true, bits);
    const auto fit = std::find_if(free.begin(), free.end(), [&](int at) {
      return program.registers[static_cast<size_t>(at)].bits == bits;
    });
    if (fit != free.end()) {
      place[static_cast<size_t>(out)] = *fit;
      free.erase(fit);
    } else {
      place[static_cast<size_t>(out)] = static_cast<int>(program.registers.size());
      program.registers.push_back({Kind::Buffer, static_cast<int16_t>(program.n_buffers++), bits});
    }
    release(s, false, bits);
  }
}

std::shared_ptr<PointwiseProgram> Compiler::program() {
  auto made = std::make_shared<PointwiseProgram>();
  PointwiseProgram& program = *made;
  program.n_inputs = static_cast<int>(body_.inputs.size());
  program.n_outputs = static_cast<int>(body_.outputs.size());
  program.params = params_;
  program.constants = constants_;
  program.input_register.assign(body_.inputs.size(), -1);
  std::vector<int> place(virtuals_.size(), -1);
  for (size_t i = 0; i < virtuals_.size(); ++i) {
    const Virtual& v = virtuals_[i];
    const auto bits = static_cast<int16_t>(dtype_bits(v.dtype));
    if (v.kind == Kind::Buffer) continue;
    place[i] = static_cast<int>(program.registers.size());
    program.registers.push_back({v.kind, static_cast<int16_t>(v.index), bits});
    if (v.kind == Kind::Input) {
      program.input_register[static_cast<size_t>(v.index)] = static_cast<int16_t>(place[i]);
    }
  }
  place_temporaries(program, place);
  for (const Instruction& step : steps_) {
    PointwiseProgram::Instruction instruction{step.tile->run};
    instruction.out = static_cast<int16_t>(place[static_cast<size_t>(step.out)]);
    for (size_t i = 0; i < 3; ++i) {
      if (step.in[i] < 0) continue;
      instruction.in[i] = static_cast<int16_t>(place[static_cast<size_t>(step.in[i])]);
    }
    instruction.params = step.params;
    instruction.tile = step.tile;
    program.instructions.push_back(instruction);
  }
  for (int out : output_registers_) {
    program.output_register.push_back(static_cast<int16_t>(place[static_cast<size_t>(out)]));
  }
  for (const PointwiseProgram::Register& reg : program.registers) {
    program.widest = std::max<int64_t>(program.widest, reg.bits);
  }
  return made;
}

// Limits of the fixed arrays that a run keeps on its stack.
std::optional<std::string> Compiler::fits() {
  const std::shared_ptr<PointwiseProgram> made = program();
  if (made->widest > 64) return "elements wider than 64 bits";
  if (made->n_buffers > kPointwiseBuffers || made->registers.size() > kPointwiseRegisters) {
    return "too many values live at once";
  }
  return std::nullopt;
}

std::vector<const Node*> live_nodes(const Graph& graph) {
  std::vector<const Node*> nodes;
  for (NodeId id : graph.order) {
    if (!graph.node(id).removed) nodes.push_back(&graph.node(id));
  }
  return nodes;
}

ProgramBody body_of(const Graph& graph, const Node& node) {
  if (const auto* body = node.attributes.get<std::shared_ptr<Graph>>("body");
      body && node.domain == "tiercel") {
    return {**body, live_nodes(**body), (*body)->inputs, (*body)->outputs};
  }
  return {graph, {&node}, node.inputs, node.outputs};
}

std::shared_ptr<PointwiseProgram> compile(const Node& node, const ProgramBody& body) {
  Compiler compiler(body);
  std::optional<std::string> why = compiler.run();
  if (!why) why = compiler.fits();
  if (why) throw_error(ErrorKind::NotImplemented, where(node), ": ", *why);
  return compiler.program();
}

}  // namespace

std::optional<std::string> pointwise_refuses(const Graph& graph, const Node& node) {
  if (!node.def || !node.def->has(kElementwise)) return "not an elementwise operator";
  const ProgramBody body = body_of(graph, node);
  Compiler compiler(body);
  if (std::optional<std::string> why = compiler.run()) return why;
  return compiler.fits();
}

std::shared_ptr<const PointwiseProgram> compile_pointwise(const Graph& graph, const Node& node) {
  return compile(node, body_of(graph, node));
}

std::shared_ptr<const PointwiseProgram> compile_attached(const Node& node, std::string_view name) {
  const auto* attached = node.attributes.get<std::shared_ptr<Graph>>(name);
  if (!attached) return nullptr;
  const Graph& graph = **attached;
  ProgramBody body{graph, live_nodes(graph), {graph.inputs.at(0)}, {graph.outputs.at(0)}};
  for (const Capture& capture : graph.captures) body.inputs.push_back(capture.inner);
  std::shared_ptr<PointwiseProgram> program = compile(node, body);
  const DType main = graph.value(graph.inputs[0]).type.dtype;
  const DType result = graph.value(graph.outputs[0]).type.dtype;
  if (result != (name == "epilogue" ? epilogue_dtype(node, main) : main)) {
    throw_error(ErrorKind::NotImplemented, where(node), ": its ", std::string(name), " makes ",
                std::string(dtype_name(result)), " of ", std::string(dtype_name(main)));
  }
  body.of_sums = name == "epilogue" && dtype_is_half(main);
  if (body.of_sums) {
    std::shared_ptr<PointwiseProgram> of_sums = compile(node, body);
    // So that both cut tiles alike.
    program->n_buffers = of_sums->n_buffers = std::max(program->n_buffers, of_sums->n_buffers);
    program->widest = of_sums->widest = std::max(program->widest, of_sums->widest);
    program->of_sums = std::move(of_sums);
  }
  return program;
}

}  // namespace tiercel
