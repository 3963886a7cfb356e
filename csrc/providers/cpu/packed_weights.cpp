// Constant inputs in the form that a kernel wants, made once and shared by all plans that use them.
#include "providers/cpu/packed_weights.h"

#include <map>
#include <mutex>
#include <tuple>

#include "base/mapped_file.h"

namespace tiercel {
namespace {

// The same bytes packed by the same kernel for calls of other shapes or attributes may differ in
// size but not otherwise; the size is part of the key.
struct PackKey {
  const TclKernel* kernel;
  const void* data;
  Dims dims;
  int64_t input;
  int64_t bytes;
  std::vector<int64_t> attributes;
  auto operator<=>(const PackKey&) const = default;
};

std::vector<int64_t> attribute_key(const TclKernel& kernel, const TclCall& call) {
  std::vector<int64_t> out;
  size_t index = 0;
  for (const char* const* name = kernel.attributes; name != nullptr && *name != nullptr; ++name) {
    const TclAttr& attr = call.attr[index++];
    out.push_back(attr.n);
    out.push_back(attr.i);
    for (int64_t i = 0; attr.ints != nullptr && i < attr.n; ++i) out.push_back(attr.ints[i]);
  }
  return out;
}

}  // namespace

std::shared_ptr<const Buffer> pack_input(const TclKernel& kernel, TclCall& call, int64_t input,
                                         const Tensor& source) {
  if (kernel.pack_size == nullptr || kernel.pack == nullptr) return nullptr;
  const int64_t bytes = kernel.pack_size(&call, input);
  if (bytes <= 0) return nullptr;
  static std::mutex mutex;
  static std::map<PackKey, std::weak_ptr<const Buffer>> cache;
  const PackKey key{&kernel, source.raw(), source.dims(),
                    input,   bytes,        attribute_key(kernel, call)};
  std::lock_guard lock(mutex);
  if (auto known = cache[key].lock()) return known;
  auto memory = Buffer::allocate(bytes);
  if (const int32_t code = kernel.pack(&call, input, memory->data()); code != TCL_OK) {
    throw_error(ErrorKind::RuntimeException, kernel.op, ": packing input ", input,
                " failed with code ", code);
  }
  const auto* read = static_cast<const std::byte*>(source.raw());
  MappedFile::release({read, static_cast<size_t>(source.bytes())});
  // The source stays alive with its packed form, so that its address cannot come again meanwhile.
  void* data = memory->data();
  auto shared = Buffer::wrap(data, bytes, [memory, owner = source.buffer()] {});
  cache[key] = shared;
  std::erase_if(cache, [](const auto& entry) { return entry.second.expired(); });
  return shared;
}

}  // namespace tiercel
