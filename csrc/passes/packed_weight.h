// Weights of few bits, packed into bytes and quantised in blocks.
#pragma once
#include "passes/compose.h"

namespace tiercel {

// Bytes [..., n] as [..., n·8 / bits] numbers of `dtype`, low bits first; bits: 2, 4 or 8.
ValueId numbers_of_bytes(Composer& e, ValueId bytes, int64_t bits, DType dtype);

// A matrix [n, k] whose rows are quantised in blocks of `block`.
struct Blocked {
  ValueId bytes;           // n rows of blocks, each on whole bytes
  ValueId scales;          // n rows of one scale per block
  ValueId zeros = kNone;   // packed like the rows, or numbers like the scales; absent: the middle
  ValueId groups = kNone;  // the block of each column; absent: one after the other
  int64_t n = 0, k = 0, bits = 4, block = 32;
  int64_t accuracy_level = 0;  // 4: the other operand may be rounded to 8 bits
};

// [n, k], in the element type of the scales.
ValueId widened(Composer& e, const Blocked& w);

}  // namespace tiercel
