# The installed package: headers, libraries, find_package(whimbrel) and pkg-config. A wheel carries the same
# files inside the Python package, where whimbrel.get_include() and whimbrel.get_cmake_dir() find them.
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

if(SKBUILD)
  set(prefix whimbrel/)
  set(CMAKE_INSTALL_LIBDIR lib)
else()
  set(prefix "")
endif()
set(include_dir ${prefix}${CMAKE_INSTALL_INCLUDEDIR})
set(lib_dir ${prefix}${CMAKE_INSTALL_LIBDIR})
set(cmake_dir ${lib_dir}/cmake/whimbrel)

install(TARGETS whimbrel_core EXPORT whimbrel
  ARCHIVE DESTINATION ${lib_dir}
  LIBRARY DESTINATION ${lib_dir}
  RUNTIME DESTINATION ${prefix}${CMAKE_INSTALL_BINDIR}
  INCLUDES DESTINATION ${include_dir})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/cpp/include/ DESTINATION ${include_dir})
install(EXPORT whimbrel NAMESPACE whimbrel:: FILE whimbrelTargets.cmake DESTINATION ${cmake_dir})

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/whimbrelConfig.cmake.in
  ${CMAKE_CURRENT_BINARY_DIR}/whimbrelConfig.cmake INSTALL_DESTINATION ${cmake_dir})
# Before 1.0 a minor version may change the interface.
write_basic_package_version_file(${CMAKE_CURRENT_BINARY_DIR}/whimbrelConfigVersion.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES
  ${CMAKE_CURRENT_BINARY_DIR}/whimbrelConfig.cmake
  ${CMAKE_CURRENT_BINARY_DIR}/whimbrelConfigVersion.cmake
  DESTINATION ${cmake_dir})

# Paths of the .pc file are relative to where it lies, so that an installed tree may be moved.
cmake_path(RELATIVE_PATH include_dir BASE_DIRECTORY ${lib_dir}/pkgconfig OUTPUT_VARIABLE pc_include)
cmake_path(RELATIVE_PATH lib_dir BASE_DIRECTORY ${lib_dir}/pkgconfig OUTPUT_VARIABLE pc_lib)
if(BUILD_SHARED_LIBS)
  set(pc_define -DWHIMBREL_SHARED)
else()
  set(pc_libs -pthread)
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/whimbrel.pc.in ${CMAKE_CURRENT_BINARY_DIR}/whimbrel.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/whimbrel.pc DESTINATION ${lib_dir}/pkgconfig)
