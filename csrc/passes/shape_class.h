// Which values certainly have equal shapes, even where extents are unknown.
#pragma once
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/graph.h"

namespace tiercel::passes {

class ShapeClasses {
 public:
  explicit ShapeClasses(const Graph& graph);
  // Values of equal class have equal shapes.
  [[nodiscard]] int of(ValueId id) const { return classes_[static_cast<size_t>(id)]; }

 private:
  int intern(const Shape& shape);
  int of_elementwise(const Graph& graph, const Node& node) const;

  std::vector<int> classes_;
  std::unordered_map<std::string, int> by_text_;
  int next_ = 0;
};

}  // namespace tiercel::passes
