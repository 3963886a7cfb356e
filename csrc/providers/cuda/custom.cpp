// Operators of users with a kernel of their own for GPUs.
#include "providers/cuda/custom.h"

#include <algorithm>
#include <deque>
#include <map>
#include <mutex>
#include <regex>

#include "base/error.h"
#include "ops/op_def.h"
#include "providers/cuda/launched.h"
#include "runtime/executor.h"

namespace tiercel {
namespace cuda {
namespace {

// Widths of parameters as PTX names them.
enum class Width : uint8_t { U32, U64, F32, F64 };

struct AddedKernel {
  LaunchedOp op;
  std::string domain, name;
  CustomKernel kernel;
  std::vector<Width> parameters;
  bool takes_dims = false;
};

struct AddedKernels {
  std::mutex mutex;
  std::deque<AddedKernel> all;                    // for ever: sessions point at them
  std::map<const OpDef*, const AddedKernel*> of;  // a second definition has its own, or none
};

AddedKernels& added_kernels() {
  static auto& made = *new AddedKernels;
  return made;
}

const AddedKernel* added_kernel(const Node& node) {
  AddedKernels& added = added_kernels();
  const std::lock_guard lock(added.mutex);
  const auto found = added.of.find(node.def);
  return found == added.of.end() ? nullptr : found->second;
}

std::vector<Width> parameters_of(const std::string& ptx, const std::string& entry) {
  static const std::regex heads(R"(\.entry\s+([\w$]+)\s*\(([^)]*)\))");
  std::optional<std::string> found;
  for (auto one = std::sregex_iterator(ptx.begin(), ptx.end(), heads);
       one != std::sregex_iterator() && !found; ++one) {
    if ((*one)[1] == entry) found = (*one)[2];
  }
  if (!found) {
    throw_error(ErrorKind::InvalidArgument, "the PTX has no entry \"", entry, "\" with parameters");
  }
  const std::string& list = *found;
  static const std::map<std::string, Width> widths = {
      {"u32", Width::U32}, {"s32", Width::U32}, {"b32", Width::U32}, {"u64", Width::U64},
      {"s64", Width::U64}, {"b64", Width::U64}, {"f32", Width::F32}, {"f64", Width::F64}};
  std::vector<Width> out;
  static const std::regex parameter(R"(\.param\s+(?:\.align\s+\d+\s+)?\.(\w+))");
  for (auto one = std::sregex_iterator(list.begin(), list.end(), parameter);
       one != std::sregex_iterator(); ++one) {
    const auto width = widths.find((*one)[1]);
    if (width == widths.end()) {
      throw_error(ErrorKind::InvalidArgument, "kernel \"", entry, "\": parameter ", out.size(),
                  " is .", (*one)[1].str(), "; expected pointers, int, long long, float or double");
    }
    out.push_back(width->second);
  }
  return out;
}

struct CustomState {
  std::shared_ptr<Device> device;
  const AddedKernel* added;
  FunctionHandle function;
  std::vector<std::variant<int64_t, double>> numbers;
};

void add_number(Arguments& arguments, Width width, std::variant<int64_t, double> value) {
  std::visit(
      [&](auto number) {
        if (width == Width::U32) arguments.add(static_cast<int32_t>(number));
        if (width == Width::U64) arguments.add(static_cast<int64_t>(number));
        if (width == Width::F32) arguments.add(static_cast<float>(number));
        if (width == Width::F64) arguments.add(static_cast<double>(number));
      },
      value);
}

// Whether a kernel's parameter holds a whole number.
bool fits_width(Width width, int64_t value) {
  return width != Width::U32 || (value >= INT32_MIN && value <= INT32_MAX);
}

void* sent_dims(Device& device, const std::vector<TclTensor*>& tensors) {
  std::vector<int64_t> dims;
  for (const TclTensor* tensor : tensors) {
    dims.insert(dims.end(), tensor->dims, tensor->dims + std::max<int64_t>(tensor->rank, 0));
  }
  const auto bytes = static_cast<int64_t>(std::max<size_t>(dims.size(), 1) * sizeof(int64_t));
  const Device::Parameters memory = device.parameters(bytes);
  std::memcpy(memory.host, dims.data(), dims.size() * sizeof(int64_t));
  device.send(memory, bytes);
  return memory.device;
}

void run_custom_kernel(const Step& step, RunContext& context) {
  const auto& state = *static_cast<const CustomState*>(step.state.get());
  std::vector<TclTensor*> tensors;
  for (const auto* list : {&step.inputs, &step.outputs}) {
    for (const ValueId id : *list) tensors.push_back(context.tensor(id));
  }
  const int64_t total = context.tensor(step.outputs[0])->size;
  if (total == 0) return;
  if (!fits_width(state.added->parameters[tensors.size() + state.numbers.size()], total)) {
    throw_error(ErrorKind::InvalidArgument, where(context.node(step)), ": output 0 has ", total,
                " elements, more than the kernel's int holds");
  }
  Arguments arguments;
  for (const TclTensor* tensor : tensors) arguments.add(tensor->data);
  size_t at = tensors.size();
  for (const auto& number : state.numbers) {
    add_number(arguments, state.added->parameters[at++], number);
  }
  add_number(arguments, state.added->parameters[at], total);
  if (state.added->takes_dims) arguments.add(sent_dims(*state.device, tensors));
  Grid grid;
  grid.x = groups_of(total, grid.threads);
  arguments.launch(*state.device, state.function, grid);
}

bool is_static(const Graph& graph, ValueId id) {
  const Type& type = graph.value(id).type;
  return type.shape && concrete(*type.shape);
}

std::variant<int64_t, double> number_of(const Node& node, const CustomNumber& number) {
  if (const auto* whole = node.attributes.get<int64_t>(number.name)) return *whole;
  if (const auto* real = node.attributes.get<double>(number.name)) return *real;
  return number.otherwise;
}

std::optional<std::string> custom_refuses(const Graph& graph, const Node& node) {
  const bool all_known = std::ranges::all_of(
      node.inputs, [&](ValueId in) { return in == kNone || is_static(graph, in); });
  if (node.outputs.size() < node.def->outputs.size()) {
    return "the kernel writes all outputs, and the node leaves one out";
  }
  for (const ValueId out : node.outputs) {
    if (out == kNone) return "the kernel writes all outputs, and the node leaves one out";
    if (!graph.value(out).type.shape) return "its shape function does not give the rank";
    if (all_known && !is_static(graph, out)) return "its shape function does not give the extents";
  }
  const AddedKernel& added = *added_kernel(node);
  size_t at = node.def->inputs.size() + node.def->outputs.size();
  for (const CustomNumber& number : added.kernel.attributes) {
    const auto value = number_of(node, number);
    const auto* whole = std::get_if<int64_t>(&value);
    if (whole != nullptr && !fits_width(added.parameters[at], *whole)) {
      return concat("attribute ", number.name, " is ", *whole,
                    ", more than the kernel's int holds");
    }
    ++at;
  }
  return std::nullopt;
}

Step compile_custom(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device) {
  const AddedKernel& added = *added_kernel(node);
  auto state = std::make_shared<CustomState>();
  state->device = device;
  state->added = &added;
  for (const CustomNumber& number : added.kernel.attributes) {
    state->numbers.push_back(number_of(node, number));
  }
  const auto inside = device->enter();
  state->function = device->function(added.kernel.ptx, added.kernel.entry.c_str());
  Step step = launched_step(graph, node, run_custom_kernel, added.kernel.entry);
  step.inputs.resize(node.def->inputs.size(), kNone);
  step.state = std::move(state);
  return step;
}

}  // namespace

const LaunchedOp* find_custom(const Node& node) {
  const AddedKernel* added = added_kernel(node);
  return added != nullptr ? &added->op : nullptr;
}

}  // namespace cuda

void add_custom_kernel(const std::string& domain, const std::string& op, CustomKernel kernel,
                       size_t inputs, size_t outputs) {
  cuda::AddedKernel added;
  added.parameters = cuda::parameters_of(kernel.ptx, kernel.entry);
  const size_t pointers = inputs + outputs, expected = pointers + kernel.attributes.size() + 1;
  const size_t got = added.parameters.size();
  bool fits = got == expected || got == expected + 1;
  added.takes_dims = got == expected + 1;
  for (size_t i = 0; fits && i < pointers; ++i) fits = added.parameters[i] == cuda::Width::U64;
  const auto is_whole = [](cuda::Width width) {
    return width == cuda::Width::U32 || width == cuda::Width::U64;
  };
  for (size_t i = 0; fits && i < kernel.attributes.size(); ++i) {
    const bool real = std::holds_alternative<double>(kernel.attributes[i].otherwise);
    if (!real || !is_whole(added.parameters[pointers + i])) continue;
    throw_error(ErrorKind::InvalidArgument, "kernel \"", kernel.entry, "\": parameter ",
                pointers + i, " is an int, attribute ", kernel.attributes[i].name, " is a float");
  }
  fits = fits && is_whole(added.parameters[expected - 1]);
  if (fits && added.takes_dims) fits = added.parameters[expected] == cuda::Width::U64;
  if (!fits) {
    throw_error(ErrorKind::InvalidArgument, "kernel \"", kernel.entry, "\" has ", got,
                " parameters; expected ", expected, ": pointers to ", inputs, " inputs and ",
                outputs, " outputs, ", kernel.attributes.size(),
                " attributes, the number of elements (and, if wanted, a pointer to the extents)");
  }
  added.domain = domain;
  added.name = op;
  added.kernel = std::move(kernel);
  added.op.refuses = cuda::custom_refuses;
  added.op.compile = cuda::compile_custom;
  added.op.of_library = false;
  cuda::AddedKernels& all = cuda::added_kernels();
  const std::lock_guard lock(all.mutex);
  all.all.push_back(std::move(added));
  all.of[find_op(domain, op)] = &all.all.back();
}

}  // namespace tiercel
