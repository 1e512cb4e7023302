# KOFN_ONEDNN
#
# A switch --with-onednn=yes|no|auto for oneDNN, which has no module for pkg-config. Its interface of version 2 with
# the threads of GNU OpenMP is what is needed. Sets ONEDNN_LIBS, HAVE_ONEDNN in config.h, and kofn_has_onednn for the
# summary, as KOFN_WITH does.
AC_DEFUN([KOFN_ONEDNN],
[AC_ARG_WITH([onednn],
    [AS_HELP_STRING([--with-onednn=yes|no|auto], [the convolutions of the model cnn [auto]])],
    [], [with_onednn=auto])
AS_CASE([$with_onednn],
    [yes|no|auto], [],
    [AC_MSG_ERROR([--with-onednn takes yes, no or auto, not "$with_onednn"])])
kofn_has_onednn=no
ONEDNN_LIBS=
AS_IF([test "x$with_onednn" != xno],
    [AC_CACHE_CHECK([for oneDNN 2 with OpenMP], [kofn_cv_onednn],
        [kofn_save_LIBS=$LIBS
         LIBS="-ldnnl -lgomp $LIBS"
         AC_LINK_IFELSE([AC_LANG_PROGRAM(
             [[#include <oneapi/dnnl/dnnl.h>
               #if DNNL_VERSION_MAJOR != 2 || DNNL_CPU_THREADING_RUNTIME != DNNL_RUNTIME_OMP
               #error another version, or other threads
               #endif
               void omp_set_num_threads(int threads);]],
             [[omp_set_num_threads(1); return !dnnl_version()->major;]])],
             [kofn_cv_onednn=yes], [kofn_cv_onednn=no])
         LIBS=$kofn_save_LIBS])
     AS_IF([test "x$kofn_cv_onednn" = xyes],
         [kofn_has_onednn=yes
          ONEDNN_LIBS="-ldnnl -lgomp"
          AC_DEFINE([HAVE_ONEDNN], [1], [Define to 1 to build with oneDNN])],
         [AS_IF([test "x$with_onednn" = xyes], [AC_MSG_ERROR([--with-onednn=yes, but it is not found])])
          kofn_has_onednn="no (not found)"])])
AC_SUBST([ONEDNN_LIBS])
])
