// Operators on values that compiled kernels cannot hold (strings, sequences, optionals, maps):
// plain C++ functions in explicit lists.
#pragma once
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "ir/graph.h"

namespace tiercel {

struct HostCall {
  const Node& node;
  std::span<const Value* const> inputs;  // nullptr: absent
  std::span<Value> outputs;              // to be filled; unwanted ones may stay empty
  const void* state = nullptr;           // what `prepare` made
};

using HostFn = void (*)(HostCall& call);  // throws Error
// Made once, when the node is compiled: look-up tables, compiled patterns. Throws Error.
using HostPrepareFn = std::shared_ptr<const void> (*)(const Graph& graph, const Node& node);

// nullopt: the node can run; else why not.
using HostRefusesFn = std::optional<std::string> (*)(const Graph& graph, const Node& node);

struct HostOp {
  std::string_view domain;
  std::string_view name;
  HostFn run;
  std::string_view types = "";  // "T=string;T1=int64": only for nodes with these types; "" any
  HostPrepareFn prepare = nullptr;
  HostRefusesFn refuses = nullptr;
};

// Each host_<family>.cpp defines one list; host_list.cpp names them all.
[[nodiscard]] std::span<const HostOp> host_ops();
// Runs an operator added at run time; its names must live for ever.
void add_host_op(HostOp op);
[[nodiscard]] const HostOp* added_host_op(std::string_view domain, std::string_view name);

}  // namespace tiercel
