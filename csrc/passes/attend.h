// The standard's Attention for the attention operators of com.microsoft.
#pragma once
#include <vector>

#include "passes/compose.h"

namespace tiercel {

// Queries, keys and values of [batch, sequence, hidden] or [batch, heads, sequence, size].
struct Attended {
  ValueId q, k, v;
  ValueId mask = kNone, past_key = kNone, past_value = kNone;
  ValueId lengths = kNone;  // int64 [batch]: of the keys that count, the queries being the last
  int64_t q_heads = 0, kv_heads = 0;
  bool causal = false;
  double softcap = 0;
  int64_t left_window = -1;
  int64_t scores = -1;  // which of them the fourth output has; -1: none
};

// The result, present keys and values, and scores where they are asked for.
std::vector<ValueId> attend(Composer& e, const Attended& a);

// What hides keys, as an addend [batch, 1, queries or 1, total]: `mask` has 0 for each hidden key
// ([batch, total], [batch, queries, total], [batch, 1, most, most]), or the ends of the seen keys
// ([batch]), before their starts ([2·batch]). `batch` and `total` are int64 [1].
ValueId hiding(Composer& e, ValueId mask, DType dtype, ValueId batch, ValueId total,
               ValueId queries);

// [batch, sequence, hidden] as [batch, heads, sequence, size].
ValueId in_heads(Composer& e, ValueId x, int64_t heads);
// x turned by the angles of a cache; positions may be kNone for a cache of one row per position.
ValueId rotated(Composer& e, ValueId x, ValueId cos, ValueId sin, ValueId positions, int64_t heads,
                bool interleaved);

}  // namespace tiercel
