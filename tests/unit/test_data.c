/* Data sets: what is in the files is what is in memory; anything wrong with a file is one line that
 * names it. */
#include <CUnit/CUnit.h>
#include <CUnit/TestDB.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "tests/lib/caught_log.h"
#include "train/sources.h"

#define PATH_BYTES 256

static char directory[64]; /* of the running test */

static void make_directory(void)
{
    strcpy(directory, "/tmp/kofn-test-XXXXXX");
    CU_ASSERT_PTR_NOT_NULL_FATAL(mkdtemp(directory));
}

static const char *in_directory(const char *name)
{
    static char path[PATH_BYTES];

    snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static void write_file(const char *name, const uint8_t *bytes, size_t length)
{
    FILE *file = fopen(in_directory(name), "wb");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(fwrite(bytes, 1, length, file), length);
    CU_ASSERT_EQUAL(fclose(file), 0);
}

static void write_compressed(const char *name, const uint8_t *bytes, size_t length)
{
    gzFile file = gzopen(in_directory(name), "wb");

    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    CU_ASSERT_EQUAL(gzwrite(file, bytes, (unsigned)length), (int)length);
    CU_ASSERT_EQUAL(gzclose(file), Z_OK);
}

static const char *spec_of(const char *source)
{
    static char spec[PATH_BYTES];

    snprintf(spec, sizeof(spec), "%s:%s", source, directory);
    return spec;
}

/* Opening @source in the directory fails with @status and one message that has @message in it. */
static bool refused(const char *source, int status, const char *message)
{
    struct kofn_data *data = NULL;
    struct kofn_caught caught;
    int rc;

    kofn_caught_reset(&caught);
    rc = kofn_data_open(spec_of(source), 1, &caught.log, &data);
    return rc == status && !data && kofn_caught_one(&caught, message);
}

/* ---- specifications ---- */

/* A source that is not there is refused with the one that was probably meant. */
static void test_bad_specifications(void)
{
    static const struct {
        const char *spec, *message;
    } cases[] = {
        {"", "unknown source \"\"; known: synthetic, cifar10, idx"},
        {"cifar:x", "unknown source \"cifar\"; did you mean \"cifar10\"?"},
        {"sintetic", "did you mean \"synthetic\"?"},
        {"synthetic:x", "synthetic takes no argument"},
        {"cifar10", "no directory; expected cifar10:DIR"},
        {"idx:", "no directory; expected idx:DIR"},
    };
    struct kofn_data *data = NULL;
    struct kofn_caught caught;

    kofn_caught_reset(&caught);
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(cases); i++) {
        CU_ASSERT_EQUAL(kofn_data_open(cases[i].spec, 1, &caught.log, &data), KOFN_INVALID);
        CU_ASSERT_PTR_NULL(data);
        CU_ASSERT(kofn_caught_one(&caught, cases[i].message));
    }
}

/* ---- synthetic ---- */

static struct kofn_data *synthetic(uint64_t seed)
{
    struct kofn_data *data;

    CU_ASSERT_EQUAL_FATAL(kofn_data_open("synthetic", seed, NULL, &data), 0);
    return data;
}

/* The seed decides the data; every class is there, about equally often, and test samples are not
 * training ones. */
static void test_synthetic(void)
{
    struct kofn_data *a = synthetic(1), *b = synthetic(1), *c = synthetic(2);
    size_t bytes = (size_t)a->train.count * a->features;
    uint32_t counts[KOFN_DATA_CLASSES] = {0};

    CU_ASSERT_EQUAL(a->features, 256);
    CU_ASSERT_EQUAL(a->classes, 10);
    CU_ASSERT_EQUAL(a->train.count, 16384);
    CU_ASSERT_EQUAL(a->test.count, 4096);
    CU_ASSERT_EQUAL(memcmp(a->train.pixels, b->train.pixels, bytes), 0);
    CU_ASSERT_EQUAL(memcmp(a->train.labels, b->train.labels, a->train.count), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(a->train.pixels, c->train.pixels, bytes), 0);
    CU_ASSERT_NOT_EQUAL(memcmp(a->train.pixels, a->test.pixels, bytes / 4), 0);
    for (uint32_t i = 0; i < a->train.count; i++)
        counts[a->train.labels[i]]++;
    for (uint32_t k = 0; k < KOFN_DATA_CLASSES; k++)
        CU_ASSERT(k < a->classes ? counts[k] > 1400 && counts[k] < 1900 : !counts[k]);
    kofn_data_close(a);
    kofn_data_close(b);
    kofn_data_close(c);
}

/* Over the training set every feature has mean 0, and all of them together deviation 1. */
static void test_normalised(void)
{
    struct kofn_data *data = synthetic(3);
    size_t features = data->features, count = data->train.count;
    double *sums = calloc(features, sizeof(*sums)), squares = 0;
    float *row = calloc(features, sizeof(*row));

    for (uint32_t i = 0; i < count; i++) {
        kofn_data_gather(data, &data->train, &i, 1, row);
        for (size_t j = 0; j < features; j++) {
            sums[j] += row[j];
            squares += (double)row[j] * row[j];
        }
    }
    for (size_t j = 0; j < features; j++)
        CU_ASSERT_DOUBLE_EQUAL(sums[j] / (double)count, 0, 1e-5);
    CU_ASSERT_DOUBLE_EQUAL(squares / (double)(count * features), 1, 1e-4);
    free(sums);
    free(row);
    kofn_data_close(data);
}

/* A mini-batch has the rows that were asked for, in their order; a range is a batch of neighbours.
 */
static void test_gather(void)
{
    static const uint32_t index[] = {5, 0, 16383, 5};
    struct kofn_data *data = synthetic(1);
    size_t features = data->features;
    float *rows = calloc(4 * features, sizeof(*rows));

    kofn_data_gather(data, &data->train, index, 4, rows);
    for (size_t i = 0; i < 4; i++)
        for (size_t j = 0; j < features; j++)
            CU_ASSERT_EQUAL(rows[i * features + j],
                            ((float)data->train.pixels[index[i] * features + j] - data->mean[j]) *
                                data->scale);
    kofn_data_gather_range(data, &data->test, 4094, 2, rows);
    kofn_data_gather(data, &data->test, (uint32_t[]){4094, 4095}, 2, rows + 2 * features);
    CU_ASSERT_EQUAL(memcmp(rows, rows + 2 * features, 2 * features * sizeof(*rows)), 0);
    free(rows);
    kofn_data_close(data);
}

/* ---- CIFAR-10 ---- */

static const char *const cifar10_files[] = {"data_batch_1.bin", "data_batch_2.bin",
                                            "data_batch_3.bin", "data_batch_4.bin",
                                            "data_batch_5.bin", "test_batch.bin"};

/* Record @i of file @f: its label and its pixels can be told from all others'. */
static void make_record(size_t f, size_t i, uint8_t record[KOFN_CIFAR10_RECORD])
{
    record[0] = (uint8_t)((f + i) % 10);
    for (size_t j = 1; j < KOFN_CIFAR10_RECORD; j++)
        record[j] = (uint8_t)(50 * f + 7 * i + j % 13);
}

/* Six files of three records below the directory, in @prefix. */
static void write_cifar10(const char *prefix)
{
    uint8_t bytes[3 * KOFN_CIFAR10_RECORD];
    char name[64];

    for (size_t f = 0; f < KOFN_ARRAY_SIZE(cifar10_files); f++) {
        for (size_t i = 0; i < 3; i++)
            make_record(f, i, bytes + i * KOFN_CIFAR10_RECORD);
        snprintf(name, sizeof(name), "%s%s", prefix, cifar10_files[f]);
        write_file(name, bytes, sizeof(bytes));
    }
}

static void remove_cifar10(const char *prefix)
{
    char name[64];

    for (size_t f = 0; f < KOFN_ARRAY_SIZE(cifar10_files); f++) {
        snprintf(name, sizeof(name), "%s%s", prefix, cifar10_files[f]);
        unlink(in_directory(name));
    }
}

static void check_cifar10(void)
{
    uint8_t record[KOFN_CIFAR10_RECORD];
    struct kofn_data *data;

    CU_ASSERT_EQUAL_FATAL(kofn_data_open(spec_of("cifar10"), 1, NULL, &data), 0);
    CU_ASSERT_EQUAL(data->features, 3072);
    CU_ASSERT_EQUAL(data->channels * data->height * data->width, 3072);
    CU_ASSERT_EQUAL(data->classes, 10);
    CU_ASSERT_EQUAL_FATAL(data->train.count, 15);
    CU_ASSERT_EQUAL_FATAL(data->test.count, 3);
    for (size_t n = 0; n < 18; n++) {
        const struct kofn_samples *set = n < 15 ? &data->train : &data->test;
        size_t at = n % 15;

        make_record(n / 3, n % 3, record);
        CU_ASSERT_EQUAL(set->labels[at], record[0]);
        CU_ASSERT_EQUAL(memcmp(set->pixels + at * 3072, record + 1, 3072), 0);
    }
    kofn_data_close(data);
}

/* All five batches and the test batch are read, in the directory or in the archive's own directory
 * below it. */
static void test_cifar10(void)
{
    make_directory();
    write_cifar10("");
    check_cifar10();
    remove_cifar10("");
    CU_ASSERT_EQUAL(mkdir(in_directory("cifar-10-batches-bin"), 0700), 0);
    write_cifar10("cifar-10-batches-bin/");
    check_cifar10();
    remove_cifar10("cifar-10-batches-bin/");
    rmdir(in_directory("cifar-10-batches-bin"));
    rmdir(directory);
}

/* A file that is missing, cut off or not CIFAR-10 is named, with the place in it. */
static void test_bad_cifar10(void)
{
    uint8_t bytes[2 * KOFN_CIFAR10_RECORD];

    make_directory();
    CU_ASSERT(refused("cifar10", KOFN_SYSTEM, "/data_batch_1.bin: cannot be opened: No such file"));
    write_cifar10("");
    make_record(2, 0, bytes);
    make_record(2, 1, bytes + KOFN_CIFAR10_RECORD);
    write_file("data_batch_3.bin", bytes, sizeof(bytes) - 1);
    CU_ASSERT(refused("cifar10", KOFN_FORMAT,
                      "/data_batch_3.bin: 6145 bytes, expected a multiple of 3073"));
    write_file("data_batch_3.bin", bytes, 0);
    CU_ASSERT(refused("cifar10", KOFN_FORMAT, "/data_batch_3.bin: 0 bytes"));
    bytes[KOFN_CIFAR10_RECORD] = 10;
    write_file("data_batch_3.bin", bytes, sizeof(bytes));
    CU_ASSERT(refused("cifar10", KOFN_FORMAT,
                      "/data_batch_3.bin: offset 3073: label 10, expected 0 to 9"));
    write_cifar10("");
    unlink(in_directory("test_batch.bin"));
    CU_ASSERT(refused("cifar10", KOFN_SYSTEM, "/test_batch.bin: cannot be opened"));
    remove_cifar10("");
    rmdir(directory);
}

/* ---- idx ---- */

#define IDX_HEADER 16
#define IDX_SIDE 3u
#define IDX_BYTES (IDX_HEADER + 8 * IDX_SIDE * IDX_SIDE)

static size_t put_header(uint8_t *bytes, unsigned dimensions, const uint32_t *sizes)
{
    memcpy(bytes, (uint8_t[]){0, 0, 8, (uint8_t)dimensions}, 4);
    for (unsigned i = 0; i < dimensions; i++)
        for (unsigned b = 0; b < 4; b++)
            bytes[4 + 4 * i + b] = (uint8_t)(sizes[i] >> (24 - 8 * b));
    return 4 + 4 * (size_t)dimensions;
}

/* @count images whose pixels count up from @first. Returns the length. */
static size_t make_images(uint8_t bytes[IDX_BYTES], uint32_t count, uint8_t first)
{
    size_t length = put_header(bytes, 3, (uint32_t[]){count, IDX_SIDE, IDX_SIDE});

    for (uint32_t i = 0; i < count * IDX_SIDE * IDX_SIDE; i++)
        bytes[length++] = (uint8_t)(first + i);
    return length;
}

/* @count labels: 0, 1, 2, 3, 0, ... */
static size_t make_labels(uint8_t bytes[IDX_BYTES], uint32_t count)
{
    size_t length = put_header(bytes, 1, &count);

    for (uint32_t i = 0; i < count; i++)
        bytes[length++] = (uint8_t)(i % 4);
    return length;
}

static const char *const idx_kinds[] = {"train-images", "train-labels", "t10k-images",
                                        "t10k-labels"};

/* A good set: 8 training images, 4 test images. @separator and @end make the names, `.gz`
 * compresses. */
static void write_idx(char separator, const char *end)
{
    uint8_t bytes[IDX_BYTES];
    char name[64];

    for (unsigned k = 0; k < 4; k++) {
        uint32_t count = k < 2 ? 8 : 4;
        size_t length = k % 2 ? make_labels(bytes, count) : make_images(bytes, count, k ? 100 : 0);

        snprintf(name, sizeof(name), "%s%cidx%u-ubyte%s", idx_kinds[k], separator, k % 2 ? 1 : 3,
                 end);
        if (*end)
            write_compressed(name, bytes, length);
        else
            write_file(name, bytes, length);
    }
}

static void remove_idx(char separator, const char *end)
{
    char name[64];

    for (unsigned k = 0; k < 4; k++) {
        snprintf(name, sizeof(name), "%s%cidx%u-ubyte%s", idx_kinds[k], separator, k % 2 ? 1 : 3,
                 end);
        unlink(in_directory(name));
    }
}

/* Plain and compressed files give the same, under both spellings of their names. */
static void test_idx(void)
{
    static const struct {
        char separator;
        const char *end;
    } names[] = {{'-', ""}, {'-', ".gz"}, {'.', ""}, {'.', ".gz"}};
    struct kofn_data *data;
    float row[9];

    make_directory();
    for (size_t n = 0; n < KOFN_ARRAY_SIZE(names); n++) {
        write_idx(names[n].separator, names[n].end);
        CU_ASSERT_EQUAL_FATAL(kofn_data_open(spec_of("idx"), 1, NULL, &data), 0);
        CU_ASSERT_EQUAL(data->features, 9);
        CU_ASSERT_EQUAL(data->height, 3);
        CU_ASSERT_EQUAL(data->width, 3);
        CU_ASSERT_EQUAL(data->classes, 4);
        CU_ASSERT_EQUAL_FATAL(data->train.count, 8);
        CU_ASSERT_EQUAL_FATAL(data->test.count, 4);
        for (uint32_t i = 0; i < 8; i++)
            CU_ASSERT_EQUAL(data->train.labels[i], i % 4);
        for (uint32_t i = 0; i < 72; i++)
            CU_ASSERT_EQUAL(data->train.pixels[i], i);
        for (uint32_t i = 0; i < 36; i++)
            CU_ASSERT_EQUAL(data->test.pixels[i], 100 + i);
        kofn_data_gather_range(data, &data->test, 3, 1, row);
        for (uint32_t j = 0; j < 9; j++) /* the mean of j, 9 + j, ..., 63 + j is 31.5 + j */
            CU_ASSERT_DOUBLE_EQUAL(row[j], (100 + 27 - 31.5) * data->scale, 1e-5);
        kofn_data_close(data);
        remove_idx(names[n].separator, names[n].end);
    }
    rmdir(directory);
}

/* Each file is checked by itself, and against the others: counts, sizes of images, labels. */
static void test_bad_idx(void)
{
    uint8_t bytes[IDX_BYTES + 1];
    size_t length;

    make_directory();
    CU_ASSERT(refused("idx", KOFN_SYSTEM, "/train-images-idx3-ubyte: no such file, nor one with"));
    write_idx('-', "");
    length = make_labels(bytes, 7);
    write_file("train-labels-idx1-ubyte", bytes, length);
    CU_ASSERT(refused("idx", KOFN_FORMAT, "offset 4: 7 labels, expected 8, one an image"));
    write_idx('-', "");
    length = make_labels(bytes, 4);
    bytes[8 + 2] = 4;
    write_file("t10k-labels-idx1-ubyte", bytes, length);
    CU_ASSERT(refused("idx", KOFN_FORMAT,
                      "/t10k-labels-idx1-ubyte: offset 10: label 4, expected 0 to 3"));
    write_idx('-', "");
    length = put_header(bytes, 3, (uint32_t[]){4, 2, 2}) + 16;
    write_file("t10k-images-idx3-ubyte", bytes, length);
    CU_ASSERT(refused("idx", KOFN_FORMAT, "test images are 2 x 2, expected 3 x 3"));
    remove_idx('-', "");
    rmdir(directory);
}

/* A compressed file that ends too early, or is no longer what was compressed, is refused. */
static void test_bad_compressed(void)
{
    uint8_t bytes[IDX_BYTES], packed[1024];
    size_t length;
    FILE *file;

    make_directory();
    write_idx('-', ".gz");
    file = fopen(in_directory("train-images-idx3-ubyte.gz"), "rb");
    CU_ASSERT_PTR_NOT_NULL_FATAL(file);
    length = fread(packed, 1, sizeof(packed), file);
    fclose(file);
    write_file("train-images-idx3-ubyte.gz", packed, length - 6);
    CU_ASSERT(refused("idx", KOFN_FORMAT, "/train-images-idx3-ubyte.gz: damaged or cut off"));
    packed[length - 6] ^= 1; /* in the checksum */
    write_file("train-images-idx3-ubyte.gz", packed, length);
    CU_ASSERT(refused("idx", KOFN_FORMAT, "/train-images-idx3-ubyte.gz: damaged or cut off"));
    length = make_images(bytes, 8, 0);
    write_compressed("train-images-idx3-ubyte.gz", bytes, length - 1);
    CU_ASSERT(refused("idx", KOFN_FORMAT, "87 bytes, expected 88 by its header"));
    remove_idx('-', ".gz");
    rmdir(directory);
}

/* Every length but the right one, every other magic number and sizes beyond all bounds are refused.
 */
static void test_idx_headers(void)
{
    static const uint32_t sizes[][3] = {{0, 3, 3},
                                        {8, 0, 3},
                                        {8, 3, 0},
                                        {8, 65536, 2},
                                        {10000001, 1, 1},
                                        {UINT32_MAX, 1, 1},
                                        {8, UINT32_MAX, UINT32_MAX}};
    uint8_t bytes[IDX_BYTES + 1] = {0};
    size_t length = make_images(bytes, 8, 0);
    struct kofn_caught caught;
    struct kofn_idx idx;

    kofn_caught_reset(&caught);
    for (size_t n = 0; n <= sizeof(bytes); n++) {
        int rc = kofn_idx_parse(bytes, n, 3, "f", &caught.log, &idx);

        CU_ASSERT_EQUAL(rc, n == length ? 0 : KOFN_FORMAT);
        if (rc)
            CU_ASSERT(
                kofn_caught_one(&caught, n < 16 ? "expected a header of 16" : "by its header"));
    }
    CU_ASSERT_EQUAL(idx.count, 8);
    CU_ASSERT_EQUAL(kofn_idx_parse(bytes, length, 1, "f", &caught.log, &idx), KOFN_FORMAT);
    CU_ASSERT(kofn_caught_one(&caught, "f: offset 0: 0x00000803, expected 0x00000801 (labels)"));
    for (size_t i = 0; i < KOFN_ARRAY_SIZE(sizes); i++) {
        put_header(bytes, 3, sizes[i]);
        CU_ASSERT_EQUAL(kofn_idx_parse(bytes, length, 3, "f", &caught.log, &idx), KOFN_FORMAT);
        CU_ASSERT(
            kofn_caught_one(&caught, i == 0 || i > 3 ? "f: offset " : "f: offset 8: images of"));
    }
}

void kofn_suite_data(void)
{
    CU_pSuite suite = CU_add_suite("data", NULL, NULL);

    CU_add_test(suite, "bad specifications", test_bad_specifications);
    CU_add_test(suite, "synthetic", test_synthetic);
    CU_add_test(suite, "normalised", test_normalised);
    CU_add_test(suite, "gather", test_gather);
    CU_add_test(suite, "CIFAR-10", test_cifar10);
    CU_add_test(suite, "bad CIFAR-10", test_bad_cifar10);
    CU_add_test(suite, "idx", test_idx);
    CU_add_test(suite, "bad idx", test_bad_idx);
    CU_add_test(suite, "bad compressed", test_bad_compressed);
    CU_add_test(suite, "idx headers", test_idx_headers);
}
