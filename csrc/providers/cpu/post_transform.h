// How classical models turn scores into what they show.
#pragma once
#include <algorithm>
#include <cmath>
#include <span>
#include <string>

namespace tiercel {

enum class PostTransform { None, Softmax, Logistic, SoftmaxZero, Probit, Unknown };

[[nodiscard]] inline PostTransform post_transform_of(const std::string& name) {
  if (name == "NONE") return PostTransform::None;
  if (name == "SOFTMAX") return PostTransform::Softmax;
  if (name == "LOGISTIC") return PostTransform::Logistic;
  if (name == "SOFTMAX_ZERO") return PostTransform::SoftmaxZero;
  return name == "PROBIT" ? PostTransform::Probit : PostTransform::Unknown;
}

[[nodiscard]] inline float logistic(float x) {
  const float e = std::exp(-std::fabs(x));
  return x < 0 ? e / (1 + e) : 1 / (1 + e);
}

// The inverse of the normal distribution, by Winitzki's formula for the inverse error function.
[[nodiscard]] inline float probit(float p) {
  const float x = 2 * p - 1;
  const float log = std::log((1 - x) * (1 + x));
  const float a = 2 / (3.14159F * 0.147F) + 0.5F * log;
  const float root = std::sqrt(std::sqrt(a * a - log / 0.147F) - a);
  return 1.41421356F * (x < 0 ? -root : root);
}

// SOFTMAX_ZERO leaves zeros out of the sum and at (nearly) zero.
inline void softmax(std::span<float> row, bool keep_zeros) {
  const float top = *std::max_element(row.begin(), row.end());
  float sum = 0;
  for (float& v : row) {
    const bool zero = keep_zeros && std::fabs(v) <= 0.0000001F;
    v = zero ? v * std::exp(-top) : std::exp(v - top);
    if (!zero) sum += v;
  }
  if (sum == 0) return;
  for (float& v : row) v /= sum;
}

// One row of scores. A lone score is shown as it is, unless it is to be a probit.
inline void transform_row(std::span<float> row, PostTransform kind) {
  if (kind == PostTransform::Probit) {
    for (float& v : row) v = probit(v);
  } else if (row.size() > 1 && kind == PostTransform::Logistic) {
    for (float& v : row) v = logistic(v);
  } else if (row.size() > 1 && kind != PostTransform::None) {
    softmax(row, kind == PostTransform::SoftmaxZero);
  }
}

}  // namespace tiercel
