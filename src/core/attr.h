/* attr.h: structures that begin with their size, between a caller and a library that were compiled
 * apart.
 *
 * A shorter one comes from a caller that knows fewer fields: those that it does not know are zero,
 * which asks for the default. A longer one comes from a newer caller: it is accepted as long as the
 * fields that are new to this library are zero.
 */
#ifndef KOFN_CORE_ATTR_H
#define KOFN_CORE_ATTR_H

#include "base/base.h"

/* Copies what a caller has filled, @from, whose first member is its size_t size, to @known bytes at
 * @to, of which the size is then @known.
 * Returns 0, KOFN_INVALID if there is no size, KOFN_UNSUPPORTED if a field is set that this library
 * does not have.
 */
int kofn__attr_take(const void *from, void *to, size_t known);

/* Copies the report @from, @known bytes, to that of a caller, as far as its size goes; the size
 * stays the caller's. Returns KOFN_INVALID if it has none.
 */
int kofn__report_give(const void *from, size_t known, void *to);

#endif
