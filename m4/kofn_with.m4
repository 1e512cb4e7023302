# KOFN_WITH(NAME, PREFIX, MODULE, WHAT IT IS FOR)
#
# A switch --with-NAME=yes|no|auto for an optional library that pkg-config knows as MODULE.
# yes: configure fails where it is missing; auto (the default): used where it is there.
# Sets PREFIX_CFLAGS and PREFIX_LIBS, the automake conditional HAVE_PREFIX, HAVE_PREFIX in config.h,
# and kofn_has_NAME to "yes", "no" (asked for) or "no (not found)" for the summary.
AC_DEFUN([KOFN_WITH],
[AC_ARG_WITH([$1],
    [AS_HELP_STRING([--with-$1=yes|no|auto], [$4 [auto]])],
    [], [with_$1=auto])
AS_CASE([$with_$1],
    [yes|no|auto], [],
    [AC_MSG_ERROR([--with-$1 takes yes, no or auto, not "$with_$1"])])
kofn_has_$1=no
AS_IF([test "x$with_$1" != xno],
    [PKG_CHECK_MODULES([$2], [$3],
        [kofn_has_$1=yes
         AC_DEFINE([HAVE_$2], [1], [Define to 1 to build with $3])],
        [AS_IF([test "x$with_$1" = xyes],
            [AC_MSG_ERROR([--with-$1=yes, but pkg-config does not find $3: $]$2[_PKG_ERRORS])])
         kofn_has_$1="no (not found)"])])
AM_CONDITIONAL([HAVE_$2], [test "x$kofn_has_$1" = xyes])
])
