#include "hnsw/ranges.h"

#include <algorithm>
#include <cmath>

namespace elanus {

size_t ChooseRanges(size_t dim, size_t rows, const RowOf& row_of, Bitset* in_graph, std::vector<float>* low,
                    std::vector<float>* high) {
  low->assign(dim, INFINITY);
  high->assign(dim, -INFINITY);
  size_t indexed = in_graph->Count();
  std::vector<uint32_t> sample;
  std::vector<float> room(dim);
  size_t every = std::max<size_t>(1, indexed / 4096), seen = 0;
  for (size_t i = 0; i < rows; i++) {
    if (!in_graph->Test(i)) continue;
    const float* row = row_of(i, room.data());
    for (size_t d = 0; d < dim; d++) {
      (*low)[d] = std::min((*low)[d], row[d]);
      (*high)[d] = std::max((*high)[d], row[d]);
    }
    if (seen++ % every == 0) sample.push_back(static_cast<uint32_t>(i));
  }
  if (indexed == 0) {
    low->assign(dim, 0);
    high->assign(dim, 0);
    return 0;
  }
  if (sample.size() < 256) return 0;
  // The sample by dimension: `values` of one after the other.
  std::vector<float> values(sample.size() * dim), centre(dim), half(dim);
  for (size_t i = 0; i < sample.size(); i++) {
    const float* row = row_of(sample[i], room.data());
    for (size_t d = 0; d < dim; d++) values[d * sample.size() + i] = row[d];
  }
  size_t cut = std::max<size_t>(1, sample.size() / 500);
  for (size_t d = 0; d < dim; d++) {
    auto begin = values.begin() + static_cast<ptrdiff_t>(d * sample.size()), end = begin + static_cast<ptrdiff_t>(sample.size());
    auto first = begin + static_cast<ptrdiff_t>(cut), last = end - 1 - static_cast<ptrdiff_t>(cut);
    std::nth_element(begin, first, end);
    float below = *first;
    std::nth_element(begin, last, end);
    float above = *last;
    centre[d] = below + (above - below) / 2;
    half[d] = (above - below) / 2;
  }
  size_t strays_max = std::max<size_t>(8, indexed / 2000);
  for (float factor : {2.f, 4.f, 16.f}) {
    std::vector<uint32_t> outside;
    for (size_t i = 0; i < rows && outside.size() <= strays_max; i++) {
      if (!in_graph->Test(i)) continue;
      const float* row = row_of(i, room.data());
      bool out = false;
      for (size_t d = 0; d < dim; d++) out |= std::fabs(row[d] - centre[d]) > factor * half[d];
      if (out) outside.push_back(static_cast<uint32_t>(i));
    }
    if (outside.size() > strays_max) continue;
    if (outside.empty()) return 0;
    for (size_t d = 0; d < dim; d++) {
      (*low)[d] = std::max((*low)[d], centre[d] - factor * half[d]);
      (*high)[d] = std::min((*high)[d], centre[d] + factor * half[d]);
    }
    for (uint32_t row : outside) in_graph->Clear(row);
    return outside.size();
  }
  return 0;
}

void FillSteps(Metric metric, const std::vector<float>& low, const std::vector<float>& high, float* middle, float* step) {
  float widest = 0;
  for (size_t d = 0; d < low.size(); d++) widest = std::max(widest, high[d] - low[d]);
  for (size_t d = 0; d < low.size(); d++) {
    bool l1 = metric == Metric::kL1;
    middle[d] = l1 ? low[d] : low[d] + (high[d] - low[d]) / 2;
    step[d] = l1 ? widest / 255 : (high[d] - low[d]) / 254;
  }
}

}  // namespace elanus
