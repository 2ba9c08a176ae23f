# Install rules: headers, library, package files.
install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR}/include/legodnn DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
