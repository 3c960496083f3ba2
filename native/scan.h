// Exact search: over the float32 column, or over an index's codes with bounds that keep it exact.
#pragma once
#include <atomic>

#include "bits.h"
#include "hnsw/index.h"
#include "kernels/pgvector.h"
#include "segment.h"
#include "topk.h"

namespace elanus {

struct ScanInput {
  const Column* column;
  const PgQuery* query;
  uint32_t segment;
  /** nullptr: all rows. */
  const uint64_t* passing;
  size_t rows;
  /** Idle pool threads may take part of it. */
  bool may_split;
  /** Rows before are not looked at. */
  size_t begin = 0;
};

/** Adds the hits among the rows; returns the distances computed. Equal to computing every distance as pgvector does. */
size_t ScanColumn(const ScanInput& input, TopK* top);

/** The same through the codes of an index over the column's first rows: only rows that may be hits are computed. */
size_t ScanCodes(const ScanInput& input, const HnswGraph& index, const CodeQuery& code, TopK* top);

}  // namespace elanus
