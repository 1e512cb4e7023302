/* table.h: columns of text that line up, and numbers as people read them. */
#ifndef KOFN_CLI_TABLE_H
#define KOFN_CLI_TABLE_H

#include <stdio.h>

#include "base/base.h"

#define KOFN_TABLE_COLUMNS 16
#define KOFN_CELL_BYTES 24

enum kofn_align { KOFN_ALIGN_RIGHT, KOFN_ALIGN_LEFT };

/* A table is filled row by row and printed once it is known how wide its columns are. */
struct kofn_table {
    size_t columns, rows, capacity;
    enum kofn_align align[KOFN_TABLE_COLUMNS];
    char (*cells)[KOFN_CELL_BYTES]; /* rows * columns; owned */
    size_t next;                    /* the cell kofn_table_cell() fills next */
    bool failed;                    /* there was no memory for a row */
};

/* Starts a table whose first row is @names, one name a column; one that begins with '<' (which is
 * not shown) is aligned to the left.
 */
void kofn_table_init(struct kofn_table *table, const char *const *names, size_t columns);
void kofn_table_free(struct kofn_table *table);

/* Fills the next cell, row after row; longer texts are cut. */
void kofn_table_cell(struct kofn_table *table, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* Prints the rows there are. */
void kofn_table_print(const struct kofn_table *table, FILE *stream);

/* @seconds with three digits and a unit ("40.1 ms"), "-" for NaN; fills and returns @text. */
const char *kofn_show_seconds(double seconds, char text[KOFN_CELL_BYTES]);

/* @bytes with three digits and a decimal unit ("9.82 MB"); "-" for NaN. */
const char *kofn_show_bytes(double bytes, char text[KOFN_CELL_BYTES]);

/* @value with @digits digits behind the point; "-" for NaN. */
const char *kofn_show_number(double value, int digits, char text[KOFN_CELL_BYTES]);

#endif
