// Runs bodies with memory that is used again.
#include "runtime/body.h"

#include <algorithm>
#include <numeric>

namespace tiercel {
namespace {

constexpr int64_t kAtOnce = int64_t{1} << 20;  // bytes of slices that are reserved unseen
constexpr int64_t kFirst = 16;                 // slices, where all would be more

}  // namespace

void* Slices::next(DType dtype, std::span<const int64_t> dims) {
  if (capacity_ == 0) {
    dims_.assign(dims.begin(), dims.end());
    bytes_ = dtype_bytes(dtype, element_count(dims_));
  } else if (dtype != all_.dtype() ||
             !std::equal(dims.begin(), dims.end(), dims_.begin(), dims_.end())) {
    throw_error(ErrorKind::InvalidArgument, "scan outputs of different shapes: ", dims_text(dims_),
                " and ", dims_text(Dims(dims.begin(), dims.end())));
  }
  if (count_ == capacity_) {
    const bool small = most_ <= kAtOnce / std::max<int64_t>(bytes_, 1);
    capacity_ =
        capacity_ == 0 ? small ? most_ : std::min(most_, kFirst) : std::min(most_, 2 * capacity_);
    Dims grown = dims_;
    grown.insert(grown.begin(), capacity_);
    Tensor larger = tensor_in(device_, dtype, std::move(grown));
    if (count_ * bytes_ != 0) copy_elements(first(larger, count_), first(all_, count_));
    all_ = std::move(larger);
  }
  return all_.data<std::byte>() + count_ * bytes_;
}

void Slices::add(const Tensor& slice) {
  void* to = next(slice.dtype(), slice.dims());
  if (slice.raw() != to && bytes_ != 0) {
    const auto there = Buffer::wrap(to, bytes_, {}, device_);
    copy_elements(Tensor(slice.dtype(), slice.dims(), there, to), slice);
  }
  ++count_;
}

Tensor Slices::first(const Tensor& all, int64_t count) {
  Dims dims = all.dims();
  dims[0] = count;
  return {all.dtype(), std::move(dims), all.buffer(), all.raw()};
}

BodyCalls::BodyCalls(const Body& body, RunContext& context)
    : body_(body),
      context_(context),
      inputs_(body.n_inputs + body.n_overridable),
      outputs_(body.program->graph().outputs.size()),
      wanted_(outputs_.size()),
      slices_(outputs_.size()),
      spare_(outputs_.size()),
      own_(inputs_.size()) {
  for (ValueId id : body.captured) inputs_.push_back(context.value(id));
  std::iota(wanted_.begin(), wanted_.end(), 0);
}

void BodyCalls::run() {
  const RunEnvironment& environment = context_.environment();
  if (environment.options != nullptr) environment.options->check();
  body_.program->run(inputs_, wanted_, environment, *this);
  for (size_t i = 0; i < slices_.size(); ++i) {
    if (slices_[i] == nullptr) continue;
    const Tensor* slice = outputs_[i].tensor();
    if (slice == nullptr) {
      throw_error(ErrorKind::InvalidArgument, "a scan output is not a tensor");
    }
    slices_[i]->add(*slice);
  }
}

void BodyCalls::carry(size_t from, size_t to) {
  if (Tensor* old = std::get_if<Tensor>(&inputs_[to]); old != nullptr && own_[to]) {
    spare_[from] = std::move(*old);
  }
  inputs_[to] = std::move(outputs_[from]);
  own_[to] = true;
}

void* BodyCalls::allocate(int index, DType dtype, std::span<const int64_t> dims) {
  const auto i = static_cast<size_t>(index);
  if (!Slices::takes(dtype)) return nullptr;
  if (slices_[i] != nullptr) {
    const int64_t bytes = dtype_bytes(dtype, element_count(Dims(dims.begin(), dims.end())));
    if (!Slices::in_place(body_.memories[i], bytes)) return nullptr;
    void* data = slices_[i]->next(dtype, dims);
    outputs_[i] = Tensor(dtype, Dims(dims.begin(), dims.end()),
                         Buffer::wrap(data, bytes, {}, body_.memories[i]), data);
    return data;
  }
  Tensor& spare = spare_[i];
  const bool fits = spare.dtype() == dtype && spare.buffer() && spare.buffer().use_count() == 1 &&
                    std::equal(dims.begin(), dims.end(), spare.dims().begin(), spare.dims().end());
  if (!fits) return nullptr;
  void* data = spare.raw();
  outputs_[i] = std::move(spare);
  spare = Tensor();
  return data;
}

void BodyCalls::set(int index, Value value) {
  outputs_[static_cast<size_t>(index)] = std::move(value);
}

}  // namespace tiercel
