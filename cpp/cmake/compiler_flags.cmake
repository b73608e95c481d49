# whimbrel_flags(<result> <flags...>): flags of GCC and Clang, as the compiler in use takes them.
#
# Kernels are written in the vector types of these two compilers. On Windows that is clang-cl or MinGW.
if(MSVC AND NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
  message(FATAL_ERROR
    "CMAKE_CXX_COMPILER: expected GCC or Clang (with Visual Studio: -T ClangCL), got ${CMAKE_CXX_COMPILER_ID}")
endif()

function(whimbrel_flags result)
  if(CMAKE_CXX_COMPILER_FRONTEND_VARIANT STREQUAL "MSVC")  # clang-cl: what /O2 or /W3 say comes before
    list(TRANSFORM ARGN PREPEND "/clang:")
  endif()
  set(${result} ${ARGN} PARENT_SCOPE)
endfunction()
