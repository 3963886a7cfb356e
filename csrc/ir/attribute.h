// Node attributes: the AttributeProto kinds as one variant, in a small ordered list. Long lists
// stay in the bytes of the file until they are asked for.
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
class LongList;

using Attribute = std::variant<int64_t, double, std::string, Tensor, std::shared_ptr<SparseTensor>,
                               Type, std::shared_ptr<Graph>, std::vector<int64_t>,
                               std::vector<double>, std::vector<std::string>, std::vector<Tensor>,
                               std::vector<Type>, std::vector<std::shared_ptr<Graph>>>;

class Attributes {
 public:
  struct Entry {
    std::string name;
    Attribute value;                       // without a meaning where there is a list
    std::shared_ptr<const LongList> list;  // nullptr: none
    [[nodiscard]] const Attribute& read() const;
    // The alternative of Attribute that `read` gives.
    [[nodiscard]] size_t kind() const;
  };
  [[nodiscard]] const Entry* entry(std::string_view name) const {
    for (const Entry& e : entries_) {
      if (e.name == name) return &e;
    }
    return nullptr;
  }
  [[nodiscard]] bool has(std::string_view name) const { return entry(name) != nullptr; }
  // nullptr when absent. Reads a long list in full.
  [[nodiscard]] const Attribute* find(std::string_view name) const {
    const Entry* e = entry(name);
    return e ? &e->read() : nullptr;
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
  void set(std::string_view name, Attribute value) { put(name, std::move(value), nullptr); }
  void set_list(std::string_view name, std::shared_ptr<const LongList> list) {
    put(name, Attribute(), std::move(list));
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
  void put(std::string_view name, Attribute value, std::shared_ptr<const LongList> list) {
    for (Entry& e : entries_) {
      if (e.name != name) continue;
      e.value = std::move(value);
      e.list = std::move(list);
      return;
    }
    entries_.push_back({std::string(name), std::move(value), std::move(list)});
  }

  std::vector<Entry> entries_;
};

}  // namespace tiercel
