/* vmctl/export.h - what every installed header needs: linkage and visibility. */
#ifndef VMCTL_EXPORT_H
#define VMCTL_EXPORT_H

#ifdef __cplusplus
#define VMCTL_BEGIN_DECLS extern "C" {
#define VMCTL_END_DECLS   }
#else
#define VMCTL_BEGIN_DECLS
#define VMCTL_END_DECLS
#endif

#if defined(__GNUC__)
#define VMCTL_API                __attribute__((visibility("default")))
#define VMCTL_PRINTF(fmt, first) __attribute__((format(printf, fmt, first)))
#else
#define VMCTL_API
#define VMCTL_PRINTF(fmt, first)
#endif

#endif
