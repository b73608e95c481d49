# whimbrel_add_kernels(<isa> <flags...>): compile the kernel sources once more, for one instruction set.
#
# Everything in them lives in namespace whimbrel::kernels::<isa>, and they include no code that could leave a weak
# symbol behind: the linker might otherwise pick a function compiled for AVX-512 for everybody.
function(whimbrel_add_kernels isa)
  set(target whimbrel_kernels_${isa})
  add_library(${target} OBJECT
    ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../src/kernels/distance_kernels.cpp
    ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../src/kernels/encoding_kernels.cpp)
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../src)
  # Kernels are measured at -O3; a sanitizer build keeps it, so that the code tested is the code shipped;
  # loops stay loops, not calls of memcpy.
  whimbrel_flags(flags -O3 -fno-builtin ${ARGN})
  if(MINGW AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # The stack of 64-bit Windows is aligned to 16 bytes; GCC may spill wider vectors there and fetch them by moves
    # that want more (GCC bug 54412). The assembler makes them moves that do not.
    list(APPEND flags -Wa,-muse-unaligned-vector-move)
  endif()
  target_compile_options(${target} PRIVATE ${flags})
  target_compile_definitions(${target} PRIVATE WHIMBREL_KERNEL_ISA=${isa})
  target_sources(whimbrel_core PRIVATE $<TARGET_OBJECTS:${target}>)
  string(TOUPPER ${isa} upper)
  target_compile_definitions(whimbrel_core PRIVATE WHIMBREL_HAVE_${upper})
endfunction()
