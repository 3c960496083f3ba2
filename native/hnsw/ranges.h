// What the codes of an index cover: per dimension a range, from it a middle and a step.
#pragma once
#include <functional>
#include <vector>

#include "bits.h"
#include "kernels/pgvector.h"

namespace elanus {

/** A row in index space; `room` (dimensions floats) may be used to make it. */
using RowOf = std::function<const float*(size_t row, float* room)>;

/**
 * The range that 8 bits cover, per dimension: least to greatest value of the rows in the graph, unless a few rows lie far outside
 * of what the rest needs; those would cost all others their precision, leave the graph and become strays (searched one by one).
 * Returns how many.
 */
size_t ChooseRanges(size_t dimensions, size_t rows, const RowOf& row_of, Bitset* in_graph, std::vector<float>* low,
                    std::vector<float>* high);

/** Ranges → what the quantizer needs (hnsw/quantizer.h). */
void FillSteps(Metric metric, const std::vector<float>& low, const std::vector<float>& high, float* middle, float* step);

}  // namespace elanus
