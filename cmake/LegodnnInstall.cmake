# Install rules: headers, libraries, the command, and what find_package() and pkg-config need.
# The torch module's rule is beside its target (src/torch). The result is relocatable.
include(CMakePackageConfigHelpers)

set(LEGODNN_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/legodnn)

install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/legodnn DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})

# Two export sets: whoever links the shared library needs none of its dependencies' development files.
install(TARGETS legodnn EXPORT legodnn-shared LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS legodnn-static EXPORT legodnn-static ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
if(TARGET legodnn-cli)
  file(RELATIVE_PATH to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(legodnn-cli PROPERTIES INSTALL_RPATH "$ORIGIN/${to_lib}")
  install(TARGETS legodnn-cli RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
endif()

install(EXPORT legodnn-shared NAMESPACE legodnn:: FILE legodnn-shared.cmake DESTINATION ${LEGODNN_CMAKE_DIR})
install(EXPORT legodnn-static NAMESPACE legodnn:: FILE legodnn-static.cmake DESTINATION ${LEGODNN_CMAKE_DIR})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/legodnn-config.cmake.in
  ${PROJECT_BINARY_DIR}/legodnn-config.cmake INSTALL_DESTINATION ${LEGODNN_CMAKE_DIR})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/legodnn-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/legodnn-config.cmake ${PROJECT_BINARY_DIR}/legodnn-config-version.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindOneDNN.cmake ${PROJECT_SOURCE_DIR}/cmake/FindGLPK.cmake
  DESTINATION ${LEGODNN_CMAKE_DIR})

# legodnn.pc: the prefix is found from where the file lies.
file(RELATIVE_PATH LEGODNN_PC_PREFIX ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
set(LEGODNN_PC_PRIVATE "-lcjson -lxxhash -ldnnl -lgomp -lm -lpthread -ldl")
if(LEGODNN_WITH_GLPK)
  string(APPEND LEGODNN_PC_PRIVATE " -lglpk")
endif()
if(NOT LEGODNN_ONLINE_ONLY)
  string(APPEND LEGODNN_PC_PRIVATE " -lz -ljpeg -lpng -lopenblas -lzip")
endif()
if(LEGODNN_WITH_ONNX)
  string(APPEND LEGODNN_PC_PRIVATE " -lprotobuf-c")
endif()
configure_file(${PROJECT_SOURCE_DIR}/cmake/legodnn.pc.in ${PROJECT_BINARY_DIR}/legodnn.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/legodnn.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
