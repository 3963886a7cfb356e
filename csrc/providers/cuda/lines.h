// Launches over lines: an axis, or axes side by side, of a tensor seen as [outer, n, inner].
#pragma once
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "providers/cuda/attached.h"
#include "providers/cuda/launched.h"

namespace tiercel::cuda {

struct Lines {
  int64_t outer = 1, n = 1, inner = 1;
};

// The axes from `first` to before `last` are the lines.
[[nodiscard]] Lines lines_of(const TclTensor& x, int64_t first, int64_t last);
// One axis, which may be negative; a scalar is a line of one item.
[[nodiscard]] Lines lines_along(const TclTensor& x, int64_t axis);

// The state of a step with entries of one file of kernels/cuda.
struct LinesState {
  std::shared_ptr<Device> device;
  std::string_view file;
  std::vector<std::string> names;       // of entries, as they were asked for
  std::vector<FunctionHandle> entries;  // those
  Attached epilogue;

  // Launches one that makes output 0 of the step.
  void launch(size_t entry, Arguments& arguments, const Grid& grid, const Step& step,
              RunContext& context) const;
};

// The entries are those names followed by `suffix`; captures of the node's epilogue become inputs
// of the step.
[[nodiscard]] LinesState lines_state(const Node& node, Step& step,
                                     const std::shared_ptr<Device>& device, std::string_view file,
                                     std::initializer_list<std::string_view> names,
                                     std::string_view suffix);

[[nodiscard]] inline const LinesState& lines_in(const Step& step) {
  return *static_cast<const LinesState*>(step.state.get());
}
// The step of a node that needs no other state; names end with the type of input 0.
[[nodiscard]] Step compile_lines(const Graph& graph, const Node& node,
                                 const std::shared_ptr<Device>& device, StepFn run,
                                 std::string_view kernel, std::string_view file,
                                 std::initializer_list<std::string_view> names);

[[nodiscard]] Grid grid_of(int64_t blocks, unsigned threads = 256);
// For kernels that loop over `items`, whatever the grid.
[[nodiscard]] Grid looping_grid(const Device& device, int64_t items);

// nullopt where kernels of kernels/cuda run lines of the type, with what hangs on the node.
[[nodiscard]] std::optional<std::string> float_lines_refused(const Graph& graph, const Node& node);

}  // namespace tiercel::cuda
