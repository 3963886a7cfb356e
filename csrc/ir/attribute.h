// Node attributes: the AttributeProto kinds as one variant, in a small ordered list.
#pragma once
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "base/tensor.h"
#include "ir/type.h"

namespace tiercel {

struct Graph;

using Attribute = std::variant<int64_t, double, std::string, Tensor, std::shared_ptr<SparseTensor>,
                               Type, std::shared_ptr<Graph>, std::vector<int64_t>,
                               std::vector<double>, std::vector<std::string>, std::vector<Tensor>,
                               std::vector<Type>, std::vector<std::shared_ptr<Graph>>>;

class Attributes {
 public:
  struct Entry {
    std::string name;
    Attribute value;
  };
  [[nodiscard]] const Attribute* find(std::string_view name) const {
    for (const Entry& e : entries_) {
      if (e.name == name) return &e.value;
    }
    return nullptr;
  }
  // nullptr when absent or of another kind.
  template <class T>
  [[nodiscard]] const T* get(std::string_view name) const {
    const Attribute* a = find(name);
    return a ? std::get_if<T>(a) : nullptr;
  }
  template <class T>
  [[nodiscard]] T get_or(std::string_view name, T fallback) const {
    const T* p = get<T>(name);
    return p ? *p : fallback;
  }
  void set(std::string_view name, Attribute value) {
    for (Entry& e : entries_) {
      if (e.name == name) {
        e.value = std::move(value);
        return;
      }
    }
    entries_.push_back({std::string(name), std::move(value)});
  }
  void erase(std::string_view name) {
    std::erase_if(entries_, [&](const Entry& e) { return e.name == name; });
  }
  [[nodiscard]] auto begin() const { return entries_.begin(); }
  [[nodiscard]] auto end() const { return entries_.end(); }
  [[nodiscard]] auto begin() { return entries_.begin(); }
  [[nodiscard]] auto end() { return entries_.end(); }
  [[nodiscard]] size_t size() const { return entries_.size(); }

 private:
  std::vector<Entry> entries_;
};

}  // namespace tiercel
