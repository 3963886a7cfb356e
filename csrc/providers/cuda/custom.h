// Operators of users with a kernel of their own for GPUs.
#pragma once
#include <optional>
#include <string>
#include <variant>
#include <vector>

namespace tiercel {

// A numeric attribute: its name, and what it is where the node does not say.
struct CustomNumber {
  std::string name;
  std::variant<int64_t, double> otherwise;
};

// A kernel in PTX. A thread computes one element of output 0; the arguments are the addresses of
// all inputs (0: absent) and outputs, the attributes, the number of elements of output 0, and,
// where the kernel has one parameter more, the address of the extents of all inputs and outputs,
// one after the other.
struct CustomKernel {
  std::string ptx, entry;
  std::vector<CustomNumber> attributes;
};

// From now on the operator's nodes run so on GPUs. Throws Error(InvalidArgument) where the text has
// no such entry, or its parameters are others.
void add_custom_kernel(const std::string& domain, const std::string& op, CustomKernel kernel,
                       size_t inputs, size_t outputs);

}  // namespace tiercel
