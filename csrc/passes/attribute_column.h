// Attributes that are lists, one entry after the other: long ones are never in memory as a whole.
#pragma once
#include <optional>

#include "ir/long_list.h"
#include "passes/expand.h"

namespace tiercel {

class IntColumn {
 public:
  // Empty when the attribute is absent.
  IntColumn(const Expander& e, std::string_view name) {
    const Attributes::Entry* entry = e.node().attributes.entry(name);
    if (entry == nullptr) return;
    if (entry->list && entry->list->kind() == LongList::Kind::Ints) {
      reader_.emplace(*entry->list);
      size_ = entry->list->size();
    } else if (const auto* values = e.node().attributes.get<std::vector<int64_t>>(name)) {
      at_ = values->data();
      size_ = values->size();
    }
  }
  [[nodiscard]] size_t size() const { return size_; }
  // The next entry; 0 of an empty list.
  int64_t next() {
    if (reader_) return reader_->integer();
    return size_ == 0 ? 0 : *at_++;
  }

 private:
  std::optional<ListReader> reader_;
  const int64_t* at_ = nullptr;
  size_t size_ = 0;
};

// Floats, or the numbers of a tensor.
class RealColumn {
 public:
  // `name`, or `name`_as_tensor. Throws where the tensor holds no real numbers.
  RealColumn(const Expander& e, const std::string& name) {
    const Attributes::Entry* entry = e.node().attributes.entry(name);
    if (entry != nullptr && entry->list && entry->list->kind() == LongList::Kind::Floats) {
      reader_.emplace(*entry->list);
      size_ = entry->list->size();
      return;
    }
    const auto* values = e.node().attributes.get<std::vector<double>>(name);
    if (values != nullptr && !values->empty()) {
      values_ = values->data();
      size_ = values->size();
      return;
    }
    const Tensor* tensor = e.node().attributes.get<Tensor>(name);
    if (tensor == nullptr) tensor = e.node().attributes.get<Tensor>(name + "_as_tensor");
    if (tensor == nullptr) return;
    if (tensor->size() > 0 && !element(*tensor, 0)) {
      e.fail(concat("attribute ", name, " holds no real numbers"));
    }
    tensor_ = *tensor;
    size_ = static_cast<size_t>(tensor->size());
  }
  [[nodiscard]] size_t size() const { return size_; }
  // The next entry, of which there must be one.
  double next() {
    if (reader_) return reader_->real();
    if (values_ != nullptr) return *values_++;
    if (tensor_.dtype() == DType::Float) return tensor_.data<float>()[index_++];
    return element(tensor_, static_cast<int64_t>(index_++)).value_or(0);
  }
  std::vector<double> rest() {
    std::vector<double> out(size_);
    for (double& value : out) value = next();
    return out;
  }

 private:
  std::optional<ListReader> reader_;
  const double* values_ = nullptr;
  Tensor tensor_;
  size_t size_ = 0, index_ = 0;
};

class TextColumn {
 public:
  TextColumn(const Expander& e, std::string_view name) {
    const Attributes::Entry* entry = e.node().attributes.entry(name);
    if (entry == nullptr) return;
    if (entry->list && entry->list->kind() == LongList::Kind::Strings) {
      reader_.emplace(*entry->list);
      size_ = entry->list->size();
    } else if (const auto* values = e.node().attributes.get<std::vector<std::string>>(name)) {
      at_ = values->data();
      size_ = values->size();
    }
  }
  [[nodiscard]] size_t size() const { return size_; }
  std::string_view next() { return reader_ ? reader_->text() : std::string_view(*at_++); }

 private:
  std::optional<ListReader> reader_;
  const std::string* at_ = nullptr;
  size_t size_ = 0;
};

}  // namespace tiercel
