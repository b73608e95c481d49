/* WHIMBREL_API marks what a shared library lets programs see. Empty for a static one. C and C++. */
#ifndef WHIMBREL_EXPORT_H
#define WHIMBREL_EXPORT_H

#if !defined(WHIMBREL_SHARED)
#define WHIMBREL_API
#elif defined(_WIN32)
#ifdef WHIMBREL_BUILDING
#define WHIMBREL_API __declspec(dllexport)
#else
#define WHIMBREL_API __declspec(dllimport)
#endif
#else
#define WHIMBREL_API __attribute__((visibility("default")))
#endif

#endif /* WHIMBREL_EXPORT_H */
