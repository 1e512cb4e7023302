#include "cli/table.h"

#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

void kofn_table_init(struct kofn_table *table, const char *const *names, size_t columns)
{
    memset(table, 0, sizeof(*table));
    table->columns = columns;
    for (size_t i = 0; i < columns; i++) {
        table->align[i] = names[i][0] == '<' ? KOFN_ALIGN_LEFT : KOFN_ALIGN_RIGHT;
        kofn_table_cell(table, "%s", names[i] + (names[i][0] == '<'));
    }
}

void kofn_table_free(struct kofn_table *table)
{
    free(table->cells);
    memset(table, 0, sizeof(*table));
}

/* Room for another row. */
static bool grow(struct kofn_table *table)
{
    size_t rows = table->capacity ? 2 * table->capacity : 16;
    void *cells = realloc(table->cells, rows * table->columns * sizeof(*table->cells));

    if (!cells)
        return false;
    table->cells = cells;
    table->capacity = rows;
    return true;
}

void kofn_table_cell(struct kofn_table *table, const char *format, ...)
{
    va_list args;

    if (table->next == table->rows * table->columns) {
        if (table->rows == table->capacity && !grow(table)) {
            table->failed = true;
            return;
        }
        memset(table->cells[table->next], 0, table->columns * sizeof(*table->cells));
        table->rows++;
    }
    va_start(args, format);
    vsnprintf(table->cells[table->next++], KOFN_CELL_BYTES, format, args);
    va_end(args);
}

void kofn_table_print(const struct kofn_table *table, FILE *stream)
{
    int width[KOFN_TABLE_COLUMNS] = {0};
    char(*cell)[KOFN_CELL_BYTES] = table->cells;

    for (size_t i = 0; i < table->rows * table->columns; i++)
        width[i % table->columns] =
            KOFN_MAX(width[i % table->columns], (int)strlen(table->cells[i]));
    for (size_t row = 0; row < table->rows; row++) {
        for (size_t i = 0; i < table->columns; i++, cell++) {
            const char *gap = i ? "  " : "";

            if (table->align[i] == KOFN_ALIGN_RIGHT)
                fprintf(stream, "%s%*s", gap, width[i], *cell);
            else if (i + 1 < table->columns)
                fprintf(stream, "%s%-*s", gap, width[i], *cell);
            else /* nothing is padded at the end of a line */
                fprintf(stream, "%s%s", gap, *cell);
        }
        fputc('\n', stream);
    }
    if (table->failed)
        fprintf(stream, "(more rows than there is memory for)\n");
}

/* Three digits of @value in the unit that suits it; units[i] is @base^(i - @one) . */
static const char *show(double value, const char *const *units, size_t count, size_t one,
                        char text[KOFN_CELL_BYTES])
{
    size_t i = one;

    while (i + 1 < count && value >= 999.5) {
        value /= 1000;
        i++;
    }
    while (i > 0 && value < 0.9995) {
        value *= 1000;
        i--;
    }
    snprintf(text, KOFN_CELL_BYTES, "%.*f %s",
             value < 9.995   ? 2
             : value < 99.95 ? 1
                             : 0,
             value, units[i]);
    return text;
}

static const char *show_none(char text[KOFN_CELL_BYTES])
{
    return strcpy(text, "-");
}

const char *kofn_show_seconds(double seconds, char text[KOFN_CELL_BYTES])
{
    static const char *const units[] = {"ns", "us", "ms", "s"};

    if (!isfinite(seconds))
        return show_none(text);
    if (seconds <= 0)
        return strcpy(text, "0 s");
    if (seconds >= 999.5)
        snprintf(text, KOFN_CELL_BYTES, "%.0f s", seconds);
    else
        show(seconds, units, KOFN_ARRAY_SIZE(units), 3, text);
    return text;
}

const char *kofn_show_bytes(double bytes, char text[KOFN_CELL_BYTES])
{
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};

    if (!isfinite(bytes))
        return show_none(text);
    return show(bytes, units, KOFN_ARRAY_SIZE(units), 0, text);
}

const char *kofn_show_number(double value, int digits, char text[KOFN_CELL_BYTES])
{
    if (!isfinite(value))
        return show_none(text);
    snprintf(text, KOFN_CELL_BYTES, "%.*f", digits, value);
    return text;
}
