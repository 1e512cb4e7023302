# KOFN_WARNINGS
#
# The warnings kofn is clean under, each only where the compiler knows it, in WARNING_CFLAGS; --enable-werror
# makes them errors.

# KOFN_WARNING(FLAG): adds a flag the compiler takes without a complaint
m4_define([KOFN_WARNING],
[AS_VAR_PUSHDEF([cached], [kofn_cv_takes_$1])
AC_CACHE_CHECK([whether $CC takes $1], [cached],
    [kofn_save_CFLAGS=$CFLAGS
     CFLAGS="$CFLAGS -Werror $1"
     AC_COMPILE_IFELSE([AC_LANG_SOURCE([[int kofn_nothing;]])],
        [AS_VAR_SET([cached], [yes])], [AS_VAR_SET([cached], [no])])
     CFLAGS=$kofn_save_CFLAGS])
AS_VAR_IF([cached], [yes], [WARNING_CFLAGS="$WARNING_CFLAGS $1"])
AS_VAR_POPDEF([cached])
])

AC_DEFUN([KOFN_WARNINGS],
[WARNING_CFLAGS=
m4_map_args_w([-Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition
               -Wpointer-arith -Wwrite-strings -Wvla -Wundef -Wformat=2 -Wno-format-nonliteral],
    [KOFN_WARNING(], [)])
AC_ARG_ENABLE([werror],
    [AS_HELP_STRING([--enable-werror], [treat warnings as errors [no]])],
    [], [enable_werror=no])
AS_IF([test "x$enable_werror" != xno], [WARNING_CFLAGS="$WARNING_CFLAGS -Werror"])
AC_SUBST([WARNING_CFLAGS])
])
