// Operators of com.microsoft that go through their elements one by one: hashes, warped time.
#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <type_traits>

#include "providers/cpu/host_call.h"

namespace tiercel {
namespace {

uint32_t scrambled(uint32_t k) { return std::rotl(k * 0xcc9e2d51U, 15) * 0x1b873593U; }

// MurmurHash3_x86_32, https://github.com/aappleby/smhasher
uint32_t murmur(const void* key, size_t length, uint32_t hash) {
  const auto* bytes = static_cast<const uint8_t*>(key);
  for (size_t at = 0; at + 4 <= length; at += 4) {
    uint32_t k = 0;
    std::memcpy(&k, bytes + at, 4);
    hash = std::rotl(hash ^ scrambled(k), 13) * 5 + 0xe6546b64U;
  }
  uint32_t rest = 0;
  for (size_t i = length; i > length / 4 * 4; --i) rest = rest << 8 | bytes[i - 1];
  hash ^= scrambled(rest) ^ static_cast<uint32_t>(length);
  hash = (hash ^ hash >> 16) * 0x85ebca6bU;
  hash = (hash ^ hash >> 13) * 0xc2b2ae35U;
  return hash ^ hash >> 16;
}

void murmur_hash(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  const bool positive = attribute<int64_t>(call.node, "positive", 1) != 0;
  const auto seed = static_cast<uint32_t>(attribute<int64_t>(call.node, "seed", 0));
  Tensor y(positive ? DType::UInt32 : DType::Int32, x.dims());
  const auto width = static_cast<size_t>(dtype_bytes(x.dtype(), 1));
  for (int64_t i = 0; i < x.size(); ++i) {
    const auto at = static_cast<size_t>(i);
    if (x.dtype() == DType::String) {
      const std::string& text = strings(call, 0)[at];
      y.data<uint32_t>()[i] = murmur(text.data(), text.size(), seed);
    } else {
      y.data<uint32_t>()[i] = murmur(x.data<uint8_t>() + at * width, width, seed);
    }
  }
  give(call, 0, std::move(y));
}

// The cheapest way from the first to the last cell, by steps right, down or both.
void dynamic_time_warping(HostCall& call) {
  const Tensor& x = tensor(call, 0);
  if (x.rank() < 2) host_fail(call, concat("input has rank ", x.rank(), "; expected 2 or 3"));
  const auto rows = static_cast<size_t>(x.dims()[static_cast<size_t>(x.rank() - 2)]);
  const auto columns = static_cast<size_t>(x.dims()[static_cast<size_t>(x.rank() - 1)]);
  const size_t line = columns + 1;
  std::vector<float> cost((rows + 1) * line, std::numeric_limits<float>::infinity());
  std::vector<uint8_t> from(cost.size(), 2);
  cost[0] = 0;
  for (size_t i = 1; i <= rows; ++i) {
    for (size_t j = 1; j <= columns; ++j) {
      const size_t at = i * line + j;
      const float both = cost[at - line - 1], down = cost[at - line], right = cost[at - 1];
      from[at] = both < down && both < right ? 0 : down < both && down < right ? 1 : 2;
      const float least = from[at] == 0 ? both : from[at] == 1 ? down : right;
      cost[at] = least + x.data<float>()[(i - 1) * columns + j - 1];
    }
  }
  std::vector<std::pair<int32_t, int32_t>> way;
  for (size_t i = rows, j = columns; i > 0 && j > 0;) {
    way.emplace_back(static_cast<int32_t>(i - 1), static_cast<int32_t>(j - 1));
    const uint8_t step = from[i * line + j];
    i -= step < 2 ? 1 : 0;
    j -= step != 1 ? 1 : 0;
  }
  const auto length = static_cast<int64_t>(way.size());
  Tensor y(DType::Int32, {2, length});
  for (int64_t t = 0; t < length; ++t) {
    const auto& cell = way[static_cast<size_t>(length - 1 - t)];
    y.data<int32_t>()[t] = cell.first;
    y.data<int32_t>()[length + t] = cell.second;
  }
  give(call, 0, std::move(y));
}

// Tokens that agree with the source are taken over, up to the first that does not; then the last
// of them are looked for in the source.
void bifurcation_detector(HostCall& call) {
  const auto numbers = [&](size_t i) {
    const Tensor& x = tensor(call, i);
    return std::span(x.data<int64_t>(), static_cast<size_t>(x.size()));
  };
  const auto source = numbers(0), current = numbers(1);
  std::vector<int64_t> tokens(current.begin(), current.end());
  if (has_input(call, 3)) {
    const auto predicted = numbers(3);
    const int64_t from = numbers(2).empty() ? 0 : numbers(2)[0];
    const auto left = static_cast<int64_t>(source.size()) - from;
    if (from < 0 || left < 0 || static_cast<int64_t>(predicted.size()) != left + 1) {
      host_fail(call, concat("pred_tokens has ", predicted.size(), " tokens; expected ", left + 1));
    }
    size_t n = 0;
    const auto rest = source.subspan(static_cast<size_t>(from));
    while (n < rest.size() && rest[n] == predicted[n]) ++n;
    tokens.insert(tokens.end(), predicted.begin(), predicted.begin() + static_cast<int64_t>(n) + 1);
  }
  int64_t found = -1;
  const int64_t least = attribute<int64_t>(call.node, "min_ngram_size", 1);
  const int64_t most = attribute<int64_t>(call.node, "max_ngram_size", 3);
  for (int64_t n = least; n <= most && n <= static_cast<int64_t>(tokens.size()); ++n) {
    const auto last = std::span(tokens).last(static_cast<size_t>(n));
    const auto at = std::search(source.begin(), source.end(), last.begin(), last.end());
    if (at == source.end()) break;
    if (std::search(at + 1, source.end(), last.begin(), last.end()) != source.end()) continue;
    found = at - source.begin() + n;
    break;
  }
  give(call, 0, Tensor::vector_i64(tokens));
  give(call, 1, Tensor::scalar_i64(found));
}

// What the hashes of n-grams are made from. Tokens of one row: those of the past, then the new
// ones.
template <class T>
struct GramHash {
  std::span<const T> multipliers, sizes, offsets;
  int64_t order = 2, heads = 1;
  T fill = 0;

  // Hashes of all n-grams that end at `at`; tokens up to `low` are out of reach.
  void write(std::span<const T> row, int64_t at, int64_t low, T* out) const {
    using U = std::make_unsigned_t<T>;
    U mix = 0;
    for (int64_t k = 0; k < order; ++k) {
      const T token = at - k > low ? row[static_cast<size_t>(at - k)] : fill;
      mix ^= static_cast<U>(token) * static_cast<U>(multipliers[static_cast<size_t>(k)]);
      for (int64_t h = 0; k > 0 && h < heads; ++h) {
        const auto head = static_cast<size_t>((k - 1) * heads + h);
        const T rest = static_cast<T>(mix) % sizes[head];
        *out++ = (rest < 0 ? rest + sizes[head] : rest) + (offsets.empty() ? 0 : offsets[head]);
      }
    }
  }
};

template <class T>
std::span<const T> elements_of(const HostCall& call, size_t i, int64_t wanted) {
  if (!has_input(call, i)) return {};
  const Tensor& x = tensor(call, i);
  if (wanted >= 0 && x.size() < wanted) {
    host_fail(call, concat("input ", i, " has ", x.size(), " elements; expected ", wanted));
  }
  return {x.data<T>(), static_cast<size_t>(x.size())};
}

template <class T>
void n_gram_hashes(HostCall& call) {
  const Tensor& ids = tensor(call, 0);
  if (ids.rank() != 2) host_fail(call, concat("input_ids has rank ", ids.rank(), "; expected 2"));
  const int64_t batch = ids.dims()[0], length = ids.dims()[1];
  GramHash<T> hash;
  hash.order = attribute<int64_t>(call.node, "max_ngram_size", 2);
  hash.heads = attribute<int64_t>(call.node, "n_head_per_ngram", 1);
  const int64_t before = hash.order - 1, width = before * hash.heads;
  if (before < 1 || hash.heads < 1) {
    host_fail(call, "max_ngram_size or n_head_per_ngram is too small; expected 2 and 1 or more");
  }
  hash.multipliers = elements_of<T>(call, 1, hash.order);
  hash.sizes = elements_of<T>(call, 2, width);
  hash.offsets = elements_of<T>(call, 4, width);
  for (T size : hash.sizes) {
    if (size < 1) host_fail(call, concat("vocab_sizes has ", size, "; expected 1 or more"));
  }
  const auto past = elements_of<T>(call, 3, batch * before), end = elements_of<T>(call, 5, 1);
  const auto segments = elements_of<int32_t>(call, 6, batch * length);
  hash.fill = end.empty() ? static_cast<T>(attribute<int64_t>(call.node, "pad_id", 0)) : end[0];
  const bool resets = attribute<int64_t>(call.node, "reset_on_eos", 0) != 0 && !end.empty();
  Tensor y(ids.dtype(), {batch, length, width}), present(ids.dtype(), {batch, before});
  for (int64_t b = 0; b < batch; ++b) {
    std::vector<T> row(static_cast<size_t>(before), hash.fill);
    if (!past.empty()) std::copy_n(past.data() + b * before, before, row.data());
    row.insert(row.end(), ids.data<T>() + b * length, ids.data<T>() + (b + 1) * length);
    int64_t low = -1;
    for (int64_t at = 0; at < before + length; ++at) {
      const int64_t s = at - before;
      const auto* segment = segments.data() + b * length + s;
      if (s > 0 && !segments.empty() && segment[0] != segment[-1]) low = std::max(low, at - 1);
      if (s >= 0) hash.write(row, at, low, y.data<T>() + (b * length + s) * width);
      if (resets && row[static_cast<size_t>(at)] == hash.fill) low = at;
    }
    std::copy_n(row.end() - before, before, present.data<T>() + b * before);
  }
  give(call, 0, std::move(y));
  give(call, 1, std::move(present));
}

constexpr HostOp kContribHost[] = {
    {"com.microsoft", "NGramHashMapping", n_gram_hashes<int32_t>, "M=int32"},
    {"com.microsoft", "NGramHashMapping", n_gram_hashes<int64_t>, "M=int64"},
    {"com.microsoft", "BifurcationDetector", bifurcation_detector},
    {"com.microsoft", "MurmurHash3", murmur_hash},
    {"com.microsoft", "DynamicTimeWarping", dynamic_time_warping},
};

}  // namespace

std::span<const HostOp> host_contrib_ops() { return kContribHost; }

}  // namespace tiercel
