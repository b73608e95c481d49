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

# The packages of Python keep the libraries of an nvcc in lib, where it does not look for them, and without the name
# by which CMake wants to know the shared runtime, though nothing here is linked to it.
function(whimbrel_help_nvcc nvcc)
  file(REAL_PATH "${nvcc}" nvcc)
  cmake_path(GET nvcc PARENT_PATH bin)
  cmake_path(GET bin PARENT_PATH toolkit)
  if(EXISTS "${toolkit}/lib/libcudart_static.a" AND NOT EXISTS "${toolkit}/lib64")
    set(ENV{NVCC_APPEND_FLAGS} "$ENV{NVCC_APPEND_FLAGS} -L${toolkit}/lib")
    set(CUDAToolkit_ROOT "${toolkit}" PARENT_SCOPE)
    file(GLOB shared_runtime "${toolkit}/lib/libcudart.so.*")
    set(CUDA_CUDART "${shared_runtime}" CACHE FILEPATH "Not linked")
  endif()
endfunction()
