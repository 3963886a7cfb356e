// Launches over lines: extents, grids, and the entries of their kernels.
#include "providers/cuda/lines.h"

#include <algorithm>

#include "base/shape.h"

namespace tiercel::cuda {

Lines lines_of(const TclTensor& x, int64_t first, int64_t last) {
  Lines lines;
  for (int64_t i = 0; i < x.rank; ++i) {
    int64_t& extent = i < first ? lines.outer : i < last ? lines.n : lines.inner;
    extent *= x.dims[i];
  }
  return lines;
}

Lines lines_along(const TclTensor& x, int64_t axis) {
  if (x.rank == 0) return {};
  const int64_t first = normalize_axis(axis, x.rank);
  return lines_of(x, first, first + 1);
}

LinesState lines_state(const Node& node, Step& step, const std::shared_ptr<Device>& device,
                       std::string_view file, std::initializer_list<std::string_view> names,
                       std::string_view suffix) {
  LinesState state{device, file, {}, {}, Attached(node, "epilogue", step, device)};
  const auto inside = device->enter();
  for (const std::string_view name : names) {
    state.names.push_back(concat(name, suffix));
    state.entries.push_back(cuda_function(*device, file, state.names.back()));
  }
  return state;
}

void LinesState::launch(size_t entry, Arguments& arguments, const Grid& grid, const Step& step,
                        RunContext& context) const {
  if (!epilogue) return arguments.launch(*device, entries[entry], grid);
  Results(epilogue, step, context).launch(*device, file, names[entry], arguments, grid);
}

Step compile_lines(const Graph& graph, const Node& node, const std::shared_ptr<Device>& device,
                   StepFn run, std::string_view kernel, std::string_view file,
                   std::initializer_list<std::string_view> names) {
  Step step = launched_step(graph, node, run, kernel);
  const std::string_view suffix = type_suffix(graph.value(node.inputs[0]).type.dtype);
  step.state = std::make_shared<LinesState>(lines_state(node, step, device, file, names, suffix));
  return step;
}

Grid grid_of(int64_t blocks, unsigned threads) {
  Grid grid;
  grid.x = blocks;
  grid.threads = threads;
  return grid;
}

Grid looping_grid(const Device& device, int64_t items) {
  const int64_t most = int64_t{device.multiprocessors()} * 32;
  return grid_of(std::min(groups_of(items, 256), most));
}

std::optional<std::string> float_lines_refused(const Graph& graph, const Node& node) {
  const DType dtype = graph.value(node.inputs[0]).type.dtype;
  if (dtype != DType::Float && dtype != DType::Float16 && dtype != DType::BFloat16) {
    return concat("no GPU kernel of ", node.op_type, " for ", dtype_name(dtype));
  }
  return attached_refuses(node, "epilogue");
}

}  // namespace tiercel::cuda
