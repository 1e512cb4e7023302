# KOFN_SANITIZERS
#
# --enable-asan, --enable-ubsan, --enable-tsan and --enable-fuzzing (libFuzzer). Every flag is tried by linking a
# program; configure fails where the compiler cannot. Sets SANITIZER_CFLAGS (compile and link), FUZZER_LDFLAGS
# (link of a fuzz target), the conditional ENABLE_FUZZING, and kofn_sanitizers for the summary.

# KOFN_TRY_FLAGS(FLAGS, EXTRA LINK FLAGS, PROLOGUE, BODY, SWITCH): links a program, or fails in the switch's name
m4_define([KOFN_TRY_FLAGS],
[AC_MSG_CHECKING([whether $CC links with $1 $2])
kofn_save_CFLAGS=$CFLAGS
kofn_save_LDFLAGS=$LDFLAGS
CFLAGS="$CFLAGS $SANITIZER_CFLAGS $1"
LDFLAGS="$LDFLAGS $2"
AC_LINK_IFELSE([AC_LANG_SOURCE([$3])],
    [AC_MSG_RESULT([yes])],
    [AC_MSG_RESULT([no])
     AC_MSG_FAILURE([$5: $CC cannot link with $1 $2])])
CFLAGS=$kofn_save_CFLAGS
LDFLAGS=$kofn_save_LDFLAGS])

# KOFN_SANITIZER(NAME, FLAGS, WHAT IT FINDS)
m4_define([KOFN_SANITIZER],
[AC_ARG_ENABLE([$1],
    [AS_HELP_STRING([--enable-$1], [build with $2: $3 [no]])],
    [], [enable_$1=no])
AS_IF([test "x$enable_$1" != xno],
    [KOFN_TRY_FLAGS([$2], [], [[int main(void) { return 0; }]], [], [--enable-$1])
     SANITIZER_CFLAGS="$SANITIZER_CFLAGS $2"
     kofn_sanitizers="$kofn_sanitizers $1"])])

AC_DEFUN([KOFN_SANITIZERS],
[SANITIZER_CFLAGS=
FUZZER_LDFLAGS=
kofn_sanitizers=
KOFN_SANITIZER([asan], [-fsanitize=address -fno-omit-frame-pointer], [memory errors and leaks])
KOFN_SANITIZER([ubsan], [-fsanitize=undefined -fno-sanitize-recover=undefined], [undefined behaviour])
KOFN_SANITIZER([tsan], [-fsanitize=thread], [data races])
AS_IF([test "x$enable_asan" != xno && test "x$enable_tsan" != xno],
    [AC_MSG_ERROR([--enable-asan and --enable-tsan exclude each other])])
AC_ARG_ENABLE([fuzzing],
    [AS_HELP_STRING([--enable-fuzzing], [build tests/fuzz with libFuzzer (clang) [no]])],
    [], [enable_fuzzing=no])
AS_IF([test "x$enable_fuzzing" != xno],
    [KOFN_TRY_FLAGS([-fsanitize=fuzzer-no-link], [-fsanitize=fuzzer],
        [[#include <stddef.h>
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size);
int LLVMFuzzerTestOneInput(const unsigned char *data, size_t size) { return size && data[0] > 255; }]],
        [], [--enable-fuzzing])
     SANITIZER_CFLAGS="$SANITIZER_CFLAGS -fsanitize=fuzzer-no-link"
     FUZZER_LDFLAGS=-fsanitize=fuzzer
     kofn_sanitizers="$kofn_sanitizers fuzzing"])
AS_IF([test -z "$kofn_sanitizers"], [kofn_sanitizers=" none"])
AC_SUBST([SANITIZER_CFLAGS])
AC_SUBST([FUZZER_LDFLAGS])
AM_CONDITIONAL([ENABLE_FUZZING], [test "x$enable_fuzzing" != xno])
AM_CONDITIONAL([ENABLE_SANITIZERS], [test "x$kofn_sanitizers" != "x none"])
])
