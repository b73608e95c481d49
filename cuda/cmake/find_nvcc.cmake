# whimbrel_find_nvcc(<variable>): path of an nvcc that can build the kernels, or NOTFOUND.
#
# Looked for in CUDACXX, on PATH, in /usr/local/cuda, and in the Python that builds: there the packages
# nvidia-cuda-nvcc, nvidia-cuda-runtime and nvidia-cuda-cccl put a complete toolkit under nvidia/cu13.
set(WHIMBREL_CUDA_MINIMUM 13.0)

function(whimbrel_find_nvcc result)
  set(candidates ${CMAKE_CUDA_COMPILER} $ENV{CUDACXX})
  find_program(nvcc_on_path nvcc HINTS "$ENV{CUDA_PATH}/bin" /usr/local/cuda/bin NO_CACHE)
  list(APPEND candidates ${nvcc_on_path})

  find_program(python_on_path NAMES python3 python NO_CACHE)
  foreach(python IN ITEMS "${Python_EXECUTABLE}" "${python_on_path}")
    if(EXISTS "${python}")
      execute_process(COMMAND "${python}" -c "import nvidia; print(*nvidia.__path__, sep=';')"
        OUTPUT_VARIABLE folders OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
      list(TRANSFORM folders APPEND "/cu13/bin/nvcc")
      list(APPEND candidates ${folders})
    endif()
  endforeach()

  foreach(nvcc IN LISTS candidates)
    if(EXISTS "${nvcc}")
      execute_process(COMMAND "${nvcc}" --version OUTPUT_VARIABLE answer ERROR_QUIET)
      if(answer MATCHES "release ([0-9.]+)" AND CMAKE_MATCH_1 VERSION_GREATER_EQUAL WHIMBREL_CUDA_MINIMUM)
        set(${result} "${nvcc}" PARENT_SCOPE)
        return()
      endif()
    endif()
  endforeach()
  set(${result} NOTFOUND PARENT_SCOPE)
endfunction()
