/* reduce_tables.h: the tables of kernels, one a source file; reduce.c alone chooses among them. */
#ifndef KOFN_MATH_REDUCE_TABLES_H
#define KOFN_MATH_REDUCE_TABLES_H

#include "math/reduce.h"

extern const struct kofn_reduce_ops kofn__reduce_portable;
#ifdef __x86_64__
extern const struct kofn_reduce_ops kofn__reduce_avx2;
extern const struct kofn_reduce_ops kofn__reduce_avx512;
#endif

#endif
